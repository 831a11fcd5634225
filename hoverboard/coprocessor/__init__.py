"""Coprocessors (paper section 4.4): per-VM threads for work too heavy for the fast path, made of stages."""
