"""Properties of emulated links: what a topology file asks for, what the link element does, what `status` shows."""
