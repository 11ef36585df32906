"""Fitting and tracking; serving never imports it."""
