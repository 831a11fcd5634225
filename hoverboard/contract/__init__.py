"""Agreed between the control plane and the data plane: entities, OpenFlow pipeline, encapsulation, usage reports.

Nothing here does I/O or imports from the rest of the project. The control plane (`controllers/`) imports nothing else
of the data plane.
"""
