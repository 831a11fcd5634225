"""Observations of a run: CPU, counters, the path of a flow, isolation of tenants, provenance."""
