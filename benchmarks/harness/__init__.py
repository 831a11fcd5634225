"""The common parts of all benchmarks: options, bars, statistics, reports."""
