"""The paper's evaluation, one experiment a file."""
