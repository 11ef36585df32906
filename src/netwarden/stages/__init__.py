"""One file per DVC stage, same name: read, call, write. `run.py` runs them all."""
