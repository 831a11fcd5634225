"""Experiments are found, run point by point, kept in folders, and reported."""
