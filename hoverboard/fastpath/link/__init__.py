"""The link element: delay, jitter, loss, reorder, duplicate and rate for one link, where the kernel has no netem."""
