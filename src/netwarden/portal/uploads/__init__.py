"""Files in, verdicts out: uploads, their rows, their truth and their reasons."""
