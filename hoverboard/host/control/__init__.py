"""The control side of a host process: its session with the control plane, and its client for the layers above."""
