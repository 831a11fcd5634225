"""What hosts say to each other on the fabric: ARP, probes and the route exchange."""
