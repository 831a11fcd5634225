"""Measuring tools, and what they need of the machine."""
