"""Changes of a topology: a new VM, another offload policy, and the keys of a file that is changed. Pure."""
