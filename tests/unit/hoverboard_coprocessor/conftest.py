"""Scapy's ESP takes long to import and the machine is shared: no deadline per example."""

from hypothesis import settings

settings.register_profile("coprocessor", deadline=None)
settings.load_profile("coprocessor")
