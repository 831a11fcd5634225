"""The slow path: a real ovs-vswitchd per host (paper section 3.2), asked, configured and watched."""
