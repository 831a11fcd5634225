"""A network that many VMs join and leave all along, at full speed: the neighbour that another network must not feel.

The requests are made before, so that what churns takes as little as it can of the processors that it shares with what
is measured.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from controllers.fm.fabric_client import FabricClient, diff_request
from hoverboard.contract.entities import VM
from hoverboard.contract.errors import HoverboardError
from topologies.run.testbed import Testbed


class Rounds:
    """How often the network was filled or emptied, what it does now, and what ended it early."""

    def __init__(self) -> None:
        self.done = 0
        self.filling = False
        self.error = ""


@contextlib.contextmanager
def churning(testbed: Testbed, vms: Sequence[VM]) -> Iterator[Rounds]:
    """All of `vms` join in one request and leave in the next, again and again, beside the block; then none is there."""
    rounds, ended, begun = Rounds(), threading.Event(), threading.Event()
    join, leave = diff_request(upsert=vms), diff_request(remove=vms)

    def churn() -> None:
        client = FabricClient(testbed.intent_address)
        try:
            while not ended.is_set():
                for rounds.filling, request in ((True, join), (False, leave)):
                    begun.set()
                    client.send(request)
                    rounds.done += 1
        except HoverboardError as error:
            rounds.error = str(error)
        finally:
            begun.set()
            client.close()

    thread = threading.Thread(target=churn, name="churn")
    thread.start()
    try:
        begun.wait()
        yield rounds
    finally:
        ended.set()
        thread.join()
