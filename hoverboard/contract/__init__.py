"""What both planes agree on: entities, the OpenFlow pipeline, the encapsulation, usage reports.

Nothing in here does I/O, and nothing in here imports from the rest of the project. The control
plane (`controllers/`) sees the data plane only through this package.
"""
