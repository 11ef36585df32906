"""What goes on right now: overview, live flows, drift and data."""
