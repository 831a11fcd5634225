"""The way the fast path is compiled, and the primitives that compiled code may call."""
