"""The elements that engines are composed of: one module and one job each, a batch at a time (paper 4.2).

An element is a compiled function `element(memory, n) -> n`. It works on the packets in the pool slots batch[0..n] and
returns how many it leaves there, in order. It may drop and count a packet, or send it elsewhere; then it frees the
slot. An element that begins a chain is `element(memory, port) -> n`.
"""
