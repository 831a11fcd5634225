"""Traffic between hosts on the fabric for themselves: ARP, probes and the route exchange."""
