"""How the fast path is compiled, and what compiled code may call."""
