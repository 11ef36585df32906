"""Flows to alerts."""
