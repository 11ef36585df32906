"""Attacks of the lab: standard tools as their users run them, and small clients of our own; against lab hosts only."""
