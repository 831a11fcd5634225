"""Finds experiments, runs them point by point, keeps the samples in folders, and writes reports."""
