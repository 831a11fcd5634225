"""The slow path of a host: flow misses, and the flow-table entries made of the answers (paper 3.2, 4.3)."""
