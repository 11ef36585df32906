"""Flows that programs send as JSON, Arrow or arrays."""
