"""Questions of hosts by packet-in, and their answers as flows (paper 3.3)."""
