"""The engines: composed of elements, scheduled, and run in threads (paper 4.1, 4.2)."""
