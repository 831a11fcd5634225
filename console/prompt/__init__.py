"""The prompt of a run in the foreground."""
