"""The user-space fast path (paper section 4): engines, flow table, rings. It does not know OVS or RPC."""
