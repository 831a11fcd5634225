"""A run: brought up, changed, watched, served and taken down."""
