"""Workloads: traffic, and VMs that come and go."""
