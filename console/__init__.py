"""What a person types and looks at: the `hoverboard` command."""
