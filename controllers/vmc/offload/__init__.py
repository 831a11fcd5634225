"""Which flows leave the Hoverboards, and the policies that decide it (paper 3.3.1)."""
