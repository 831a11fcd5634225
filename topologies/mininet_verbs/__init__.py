"""Mininet's verbs on a run: what `net`, `pingall`, `iperf`, `link` and others do, for the prompt and `HoverboardNet`."""
