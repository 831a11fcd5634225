"""Remote calls between processes of a run: JSON over Unix sockets, with file descriptors.

A request is a line {"method", "params", "fds"}. Its answer is a line {"result", "fds"} or {"error": {"kind", ..}}.
`fds` is the number of descriptors that come with the line. This package imports hoverboard.contract only, and knows
nothing of hosts, runs or engines.
"""
