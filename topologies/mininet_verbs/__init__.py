"""Mininet's verbs on a run, such as `net`, `pingall`, `iperf` and `link`, for the prompt and `HoverboardNet`."""
