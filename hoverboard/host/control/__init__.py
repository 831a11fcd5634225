"""The host process as the control plane and the layers above reach it."""
