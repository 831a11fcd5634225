"""Cluster management: tells the control planes what there should be (paper section 3.1)."""
