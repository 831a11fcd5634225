"""Messages between hosts on the fabric: ARP, probes and the route exchange."""
