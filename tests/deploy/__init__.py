"""What is in deploy/ holds of the product as it is: its commands, its ports, its addresses and its settings."""
