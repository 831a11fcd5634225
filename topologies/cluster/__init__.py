"""Cluster management: sends the intent to the control planes (paper section 3.1)."""
