"""The coprocessors of a host: threads, rings, and the stages of each flow (paper 4.4)."""
