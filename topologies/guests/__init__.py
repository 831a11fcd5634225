"""VMs seen from inside: names, addresses, routes and the CPU time of the guest."""
