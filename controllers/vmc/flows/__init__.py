"""The flows that each switch should hold, and the changes to them."""
