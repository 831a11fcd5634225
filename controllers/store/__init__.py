"""The small store of the control plane: revisions, conditional writes, watches, leases (paper section 3.1).

port      the interface that elections and front ends use
memory    the data structure: what the embedded store keeps; pure
server    the embedded store's door: gRPC in the fabric manager's process
remote    its client
etcd      the same interface over etcd's gRPC API (version 3)
keeper    keeps leases alive from a thread of its own
"""
