"""Usage, rates, captures and latencies of a host's traffic."""
