"""The control side of a host process: its session to the control plane, and its client for the layers above."""
