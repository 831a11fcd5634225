"""The namespaces of nodes: entering them, host names, mounts, users."""
