"""What all benchmarks share: options, bars, statistics, reports."""
