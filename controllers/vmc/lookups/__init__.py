"""Lookups: a host asks the controller by packet-in, and gets a flow as the answer (paper 3.3)."""
