"""The emulated network: Mininet nodes and links, devices, and the switches in them."""
