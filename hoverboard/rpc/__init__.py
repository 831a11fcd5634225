"""Remote calls between processes of a run: JSON over Unix sockets, with file descriptors.

A request is a line {"method", "params", "fds"}, its answer a line {"result", "fds"} or {"error": {"kind", ..}}; `fds`
is the number of descriptors that ride along. Knows hoverboard.contract only, and nothing of hosts, runs or engines.
"""
