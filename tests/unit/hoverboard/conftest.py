"""The first call of a compiled function takes seconds where no cache is: no deadline per example."""

from hypothesis import settings

settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
