"""Runs of an ordinary user: in user, mount, pid, network, UTS and IPC namespaces of that user's own."""
