"""The benchmark of the link element: `python -m benchmarks.link_element`."""
