"""The process of a run that serves its emulated links, and its client."""
