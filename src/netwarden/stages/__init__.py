"""One file per DVC stage, same name: read, call, write."""
