"""The topology file, and the `Topology` made of it. Pure."""
