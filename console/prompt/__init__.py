"""The prompt of a run: verbs of `hoverboard`, verbs of Mininet, and commands in nodes."""
