"""Measurements with bars: contestants are measured side by side in one run, and ratios decide.

Each module is a command, `python -m benchmarks.NAME`. None is a test, because a shared machine may be slow at any
moment.
"""
