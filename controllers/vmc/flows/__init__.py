"""Which flows each switch should hold, and which of them a change affects."""
