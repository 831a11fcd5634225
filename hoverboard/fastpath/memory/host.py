"""host[]: words that all engines of a host read."""

from __future__ import annotations

# CONTROL_EVENTFD: eventfd of the control thread, as numbered in the engines' process. ASLEEP: the engines' thread
# waits in epoll_wait(), and whoever gives it work through a ring has to wake it. PORTS: one past the last
# port in use. SIDES: ports with a coprocessor or a VMM.
IP, CONTROL_EVENTFD, WAKE_FD, ASLEEP, PORTS, SIDES = range(6)
WORDS = 16
