"""Fabric manager: the intent API (paper section 3.1)."""
