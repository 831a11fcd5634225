"""What the command line asks of a run."""
