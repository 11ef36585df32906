"""Flows to matrix."""
