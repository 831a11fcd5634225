"""A change of the programming model on running switches, step by step."""
