"""Which way of moving packets between user space and the kernel carries a virtual NIC, and which the uplink.

Small forwarders, one mechanism each, stand between two namespaces in place of the engine. They parse
nothing and look nothing up: what is measured is the port alone. `docs/ports.md` tells the outcome.
"""
