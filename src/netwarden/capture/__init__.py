"""Packets to flows."""
