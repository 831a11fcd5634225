"""The frame of scripted experiments: parameters, points, samples, figures, verdicts, folders; it measures nothing.

`experiment` is what an experiment's author needs (docs/experiments.md), `runner` runs one, `folder` keeps what was
measured, `report` shows it.
"""
