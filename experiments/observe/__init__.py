"""What is observed while something runs: CPU, counters, paths, isolation, provenance."""
