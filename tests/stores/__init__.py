"""One behaviour suite per contract, over every backend."""
