"""The host process: one per VM host or Hoverboard (paper section 4); the only package that imports all others."""
