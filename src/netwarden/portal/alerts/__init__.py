"""Stored alerts: found, explained, decided on, hidden, passed on and cleared up."""
