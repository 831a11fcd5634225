"""The host process: one per VM host or Hoverboard (paper section 4); the only part that knows all others."""
