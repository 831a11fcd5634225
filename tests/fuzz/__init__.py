"""Fuzzing: millions of malformed packets through the compiled fast path, its bounded form in the unit ring."""
