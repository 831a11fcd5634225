"""Topologies on Mininet: servers, VMs, the fabric and their links; starts and stops everything of a run.

Stands for the machines, NICs and cluster management of the paper; imports only what lies below it
(`controllers.fm.fabric_client`, `hoverboard`).
"""
