"""The small store of the control plane: revisions, conditional writes, watches, leases (paper section 3.1).

- `port`: the interface that elections and front ends use.
- `memory`: the data of the embedded store; pure.
- `store_server`: the gRPC service of the embedded store, in the fabric manager's process.
- `remote`: the client of the embedded store.
- `etcd`: the same interface over etcd's gRPC API (version 3).
- `lease_keepalive`: a thread that keeps leases alive.
- `channels`: gRPC channels for both clients.
"""
