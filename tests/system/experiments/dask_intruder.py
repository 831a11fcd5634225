"""Tries to run code in a Dask cluster, by its scheduler and by a worker's own port; prints what came of each try.

`python dask_intruder.py SCHEDULER WORKER [KEYS]`. With KEYS, the folder of the certificates, it is a member.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.core import connect

_SECONDS = 5


def attempt(how: str, call: Callable[[], object]) -> None:
    """Print what a try gave."""
    try:
        print(how, "gives", call())
    except BaseException as error:
        print(how, "refused:", type(error).__name__)


async def run_by_port(address: str, context: ssl.SSLContext | None) -> Any:
    """Send a function to a worker as its scheduler does."""
    comm = await connect(address, timeout=_SECONDS, **({"ssl_context": context} if context else {}))
    empty: Any = ((), {})
    function, arguments, keywords = map(pickle.dumps, (os.getuid, *empty))
    await comm.write({"op": "run", "function": function, "args": arguments, "kwargs": keywords, "reply": True})
    return await asyncio.wait_for(comm.read(), _SECONDS)


def main(scheduler: str, worker: str, keys: str | None = None) -> None:
    """Make all tries."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if keys is not None:
        context.load_cert_chain(Path(keys) / "peer.pem", Path(keys) / "peer-key.pem")
        attempt("worker with a certificate", lambda: asyncio.run(run_by_port(worker, context))["result"])
        return
    plain = "tcp" + worker.removeprefix("tls")
    attempt("scheduler by tcp", lambda: Client("tcp" + scheduler.removeprefix("tls"), timeout=_SECONDS))
    attempt("worker by tcp", lambda: asyncio.run(run_by_port(plain, None)))
    attempt("worker without a certificate", lambda: asyncio.run(run_by_port(worker, context)))
    attempt("scheduler without a certificate", lambda: asyncio.run(run_by_port(scheduler, context)))


if __name__ == "__main__":
    main(*sys.argv[1:])
