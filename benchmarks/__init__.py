"""Measurements with bars: what is compared stands side by side in one run, and ratios decide.

Each module is a command, `python -m benchmarks.NAME`; none is a test, because a machine that others
use too may be slow at any moment.
"""
