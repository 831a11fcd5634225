"""Election of a partition's master among its replicas (paper section 3.1)."""
