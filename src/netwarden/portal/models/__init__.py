"""Registered bundles: which serves, how good each is, and what changes that."""
