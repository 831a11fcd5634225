"""What this machine has and lacks for Hoverboard: `hoverboard doctor`."""
