"""Checks of the machine: what it has and lacks for Hoverboard (`hoverboard doctor`)."""
