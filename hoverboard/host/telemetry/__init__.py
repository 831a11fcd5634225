"""What a host reports about its traffic: usage, rates, captures and latencies."""
