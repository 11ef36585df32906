"""Training from the portal: its form, its queue and its runs."""
