"""Packets from VM to VM: generation `fastpath` beside generation `ovs` and the kernel's own overlay."""
