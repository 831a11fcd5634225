"""The state that outlives a host process, and how its successor takes over (paper 3.5)."""
