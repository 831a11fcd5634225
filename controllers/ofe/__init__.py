"""OpenFlow front ends: one stable session per switch, nearly no state (paper section 3.1)."""
