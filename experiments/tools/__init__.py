"""Measuring tools, and the conditions on the machine that they need."""
