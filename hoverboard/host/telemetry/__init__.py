"""Telemetry of a host: usage, rates, captures and latencies."""
