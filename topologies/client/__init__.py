"""Clients of a run, for the command line."""
