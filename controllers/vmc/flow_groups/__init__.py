"""The flows of one object of the intent: firewall, load balancer, network or route."""
