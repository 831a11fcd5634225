"""Gives a VM its addresses and routes again when its link comes back, as a guest agent or DHCP does in a real VM.

The kernel forgets the routes of a link that goes down, and its IPv6 addresses. A link with an MTU too small for IPv6
loses those as well. An address that a user removes stays away until the link goes up the next time. One thread of the
holder does this for all VMs of a run.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hoverboard.contract.errors import HoverboardError
from topologies.guests.link_events import LinkEvent

_log = logging.getLogger(__name__)
IPV6_MIN_MTU = 1280  # RFC 8200, section 5: the kernel has no IPv6 on a link with less
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds before the socket is opened again
_FIRST_NUMBER = 1 << 20  # the kernel itself numbers the namespaces of the hosts' uplinks from 0
# It is there already; the link is down again, or gone.
_HARMLESS = {0, errno.EEXIST, errno.ENETDOWN, errno.ENODEV}


class Events(Protocol):
    """The functions of `LinkEvents` that the agent needs."""

    def hear(self, number: int, pid: int) -> None:
        """Hear the links in the namespace of a process."""

    def read(self) -> list[LinkEvent] | None:
        """Wait for events; None after `stop`."""

    def reopen(self, pause: float) -> None:
        """Open the socket again after a pause in seconds, which `stop` ends."""

    def stop(self) -> None:
        """End `read`."""

    def close(self) -> None:
        """Close the descriptors."""


@dataclass
class Guest:
    """A VM, and what its link has.

    Attributes:
        name: of the VM.
        pid: a process in its namespaces.
        index: of its link.
        ipv4, ipv6: the prepared requests for its addresses and routes.
        up: whether the link is up.
        has_ipv6: whether the link is up, and large enough for IPv6.
    """

    name: str
    pid: int
    index: int
    ipv4: bytes
    ipv6: bytes
    up: bool = True
    has_ipv6: bool = True

    def lost(self, event: LinkEvent) -> list[bytes]:
        """Note an event; return the requests for what the kernel has forgotten meanwhile, and can have again."""
        came_up = event.up and not self.up
        can_ipv6 = event.up and event.mtu >= IPV6_MIN_MTU
        got_ipv6 = can_ipv6 and not self.has_ipv6
        self.up, self.has_ipv6 = event.up, can_ipv6
        return [one for one, wanted in ((self.ipv4, came_up), (self.ipv6, got_ipv6)) if wanted and one]

    def unheard(self) -> list[bytes]:
        """Note that events were lost; return the requests for all that the kernel may have forgotten.

        The link may be down now, which nothing says. So its next event counts as its coming up.
        """
        self.up = self.has_ipv6 = False
        return [one for one in (self.ipv4, self.ipv6) if one]


class GuestAgent:
    """The guest agents of all VMs of a run.

    Args:
        events: the changes of their links.
        send: sends prepared requests in the namespace of a process, and returns their error codes.
    """

    def __init__(self, events: Events, send: Callable[[int, Sequence[bytes]], list[int]]) -> None:
        self._events = events
        self._send = send
        self._guests: dict[int, Guest] = {}
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="guest agent", daemon=True)
        self._thread.start()

    def attend(self, guest: Guest) -> None:
        """Look after a VM from now on; its link is up and has its addresses.

        Raises:
            OSError: its process is gone.
        """
        with self._lock:
            number = next(self._numbers)
            self._guests[number] = guest
        try:
            self._events.hear(number, guest.pid)
        except BaseException:
            self.leave(guest.name)
            raise

    def leave(self, name: str) -> None:
        """Leave a VM alone; harmless when it is not there."""
        with self._lock:
            self._guests = {number: guest for number, guest in self._guests.items() if guest.name != name}

    def close(self) -> None:
        """End the thread."""
        self._events.stop()
        self._thread.join()
        self._events.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                events = self._events.read()
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.ENOBUFS:
                    _log.warning("the kernel dropped changes of links: all VMs get their addresses again")
                    self._restore_all()
                    continue
                _log.error("there is no news of VMs' links: %s; trying again after %g s", error, pause)
                self._reopen(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if events is None:
                return
            pause = _FIRST_PAUSE
            self._restore((guest, guest.lost(event)) for event in events if (guest := self._guest(event)))

    def _reopen(self, pause: float) -> None:
        try:
            self._events.reopen(pause)
        except Exception as error:  # the next `read` fails as well, and leads here again
            _log.error("the socket for changes of VMs' links cannot be opened: %s", error)
        else:
            self._restore_all()  # what changed meanwhile was not heard

    def _restore_all(self) -> None:
        self._restore((guest, guest.unheard()) for guest in list(self._guests.values()))

    def _guest(self, event: LinkEvent) -> Guest | None:
        guest = self._guests.get(event.number)
        return guest if guest is not None and guest.index == event.link else None

    def _restore(self, lost: Iterable[tuple[Guest, list[bytes]]]) -> None:
        for guest, requests in lost:
            if not requests:
                continue
            try:
                failed = set(self._send(guest.pid, requests)) - _HARMLESS
            except (HoverboardError, OSError) as error:
                _log.info("VM %s goes while its link comes back: %s", guest.name, error)
                continue
            except Exception:
                _log.exception("VM %s does not get its addresses and routes again", guest.name)
                continue
            if failed:
                reasons = ", ".join(os.strerror(code) for code in sorted(failed))
                _log.warning("VM %s does not get all its addresses and routes again: %s", guest.name, reasons)
