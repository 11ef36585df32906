"""What a newcomer, the continuous integration and a container get."""
