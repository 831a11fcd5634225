"""Churn: many VMs join and leave a network all the time, at full speed. Other networks must not notice it.

The requests are encoded before, because the churn shares its CPUs with the measurement and must use little of them.
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
    """The state of the churn.

    Attributes:
        done: how often the network was filled or emptied.
        filling: the current request adds the VMs.
        error: the error that ended the churn early; "": none.
    """

    def __init__(self) -> None:
        self.done = 0
        self.filling = False
        self.error = ""


@contextlib.contextmanager
def churning(testbed: Testbed, vms: Sequence[VM]) -> Iterator[Rounds]:
    """Run churn beside the block: all of `vms` join in one request and leave in the next. At the end no VM is left."""
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
