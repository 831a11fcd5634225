"""Words of host[], which all engines of a host read."""

from __future__ import annotations

# CONTROL_EVENTFD: eventfd of the control thread, as numbered in the engines' process. WAKE_FD: eventfd of the
# engines' thread. PORTS: one past the last port in use. SIDES: number of ports with a coprocessor or a VMM.
IP, CONTROL_EVENTFD, WAKE_FD, ASLEEP, PORTS, SIDES = range(6)
WORDS = 16
