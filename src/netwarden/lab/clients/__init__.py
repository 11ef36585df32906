"""Benign clients of the lab: each module is a program that plays sessions of one kind of use."""
