"""The control plane: fabric manager, VM controllers, OpenFlow front ends (paper section 3)."""
