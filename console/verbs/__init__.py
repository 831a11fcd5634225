"""The verbs of the `hoverboard` command, one a file."""
