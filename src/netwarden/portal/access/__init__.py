"""Who may ask: accounts, roles, logins, limits, and the log of what they changed."""
