"""Flows from and to elsewhere: files, stores, queues and backups."""
