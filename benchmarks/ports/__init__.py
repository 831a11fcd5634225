"""Compares ways of moving packets between user space and the kernel, for a virtual NIC and for the uplink.

Small forwarders, one mechanism each, stand between two namespaces in place of the engine. They do not parse packets or
look flows up, so that only the port is measured. `docs/ports.md` shows the results.
"""
