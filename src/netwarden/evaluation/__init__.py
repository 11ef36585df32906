"""Metrics, splits and protocols: which rows, and how good."""
