"""The machine is shared with other work: no deadline per example."""

from hypothesis import settings

settings.register_profile("benchmarks", deadline=None)
settings.load_profile("benchmarks")
