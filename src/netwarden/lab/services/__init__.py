"""Servers of the lab: each module is a program that runs on one host of a scenario from its start to its end."""
