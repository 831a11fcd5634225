"""The `hoverboard` command: what a person types, and what is shown."""
