"""The frame of scripted experiments: parameters, points, samples, charts and verdicts. It measures nothing itself.

The author of an experiment needs `experiment` alone (docs/experiments.md). `experiments.sweeps` runs experiments,
keeps their samples in folders and writes reports.
"""
