"""The data plane of Hoverboard: fast path, coprocessors, vswitch (slow path) and host process."""

__version__ = "0.2.0"
