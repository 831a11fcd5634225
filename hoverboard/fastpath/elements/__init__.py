"""The elements that engines are composed of: one module and one job each, a batch at a time (paper 4.2).

An element is a compiled function `element(memory, n) -> n`: it works on the packets in the pool slots
batch[0..n] and returns how many it leaves there, in order; a packet it takes out is dropped and counted,
or given elsewhere, and its slot freed. An element that begins a chain is `element(memory, port) -> n`.
"""
