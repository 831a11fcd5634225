"""The user-space fast path (paper section 4): engines, flow table, rings. Knows no OVS and no RPC."""
