"""Checks of what people write: names that do not exist, and classes of their own. Pure."""
