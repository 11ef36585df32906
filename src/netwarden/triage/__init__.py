"""Alerts to decisions."""
