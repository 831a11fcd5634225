"""The adapter of `cluster.Cluster` for Dask, and the worker that joins a cluster. Dask is optional: `hoverboard[dask]`.

Anyone who reaches a Dask scheduler can run any code on its workers, as root. So use it in a private network
only, or with Dask's TLS (tls://).
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.sweeps import worker
from experiments.sweeps.cluster import WorkerLost
from experiments.sweeps.folder import Outcome
from hoverboard.contract.errors import InputError

if TYPE_CHECKING:
    import distributed

_CONNECT_SECONDS = 10
_LOOK_SECONDS = 2.0  # between two checks that a measuring worker is still there
_FINISH_SECONDS = 120.0
T = TypeVar("T")


def _dask() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError(
            "Dask is not installed",
            where="--scheduler",
            next_step="run `bootstrap.sh test`, or pip install 'hoverboard[dask]'",
        ) from None
    return distributed


class DaskCluster:
    """The workers of a Dask scheduler.

    Raises:
        InputError: Dask is not installed, or there is no scheduler at this address.
    """

    def __init__(self, scheduler: str) -> None:
        dask = _dask()
        try:
            self._client: distributed.Client = dask.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
            raise InputError(
                f"no Dask scheduler: {str(error) or type(error).__name__}",
                where=scheduler,
                next_step="start `dask scheduler`, and give the address that it prints, as tcp://HOST:8786",
            ) from None

    def workers(self) -> dict[str, dict[str, Any]]:
        """The machine of each worker, by address. InputError: a worker measures several points at a time."""
        for address, one in self._present().items():
            if one["nthreads"] != 1:
                raise InputError(
                    f"the worker has {one['nthreads']} threads, and points must be measured alone",
                    where=address,
                    next_step="start workers with `hoverboard experiment worker`",
                )
        return {address: self._have(address, worker.describe) for address in self._present()}

    def measure(self, address: str, job: worker.Job) -> tuple[Outcome, dict[str, str]]:
        """Measure a point on a worker."""
        return self._have(address, worker.measure, job)

    def finish(self, address: str) -> None:
        """Take down the testbeds of a worker."""
        self._have(address, worker.finish)

    def close(self) -> None:
        """Close the connection to the scheduler."""
        self._client.close()

    def _present(self) -> dict[str, dict[str, Any]]:
        return dict(self._client.scheduler_info(n_workers=-1)["workers"])

    def _have(self, address: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function on one worker. Dask waits for a lost worker without a limit, so check that it is there."""
        future = self._client.submit(function, *arguments, workers=[address], pure=False, retries=0)
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                if self._client.status != "running" or address not in self._present():
                    future.cancel()
                    raise WorkerLost("it no longer answers the scheduler") from None
            except _dask().scheduler.KilledWorker:
                raise WorkerLost("it ended during a measurement") from None


def serve(scheduler: str, say: Callable[[str], None]) -> None:
    """Run a worker until a signal or the scheduler ends it. It measures one point at a time, on its own testbeds.

    Raises:
        InputError: Dask is not installed, or there is no scheduler at this address.
    """
    dask = _dask()
    import dask as settings

    # The profiler reads the stack every 10 ms, which would disturb the measurements.
    settings.config.set({"distributed.worker.profile.enabled": False})
    with tempfile.TemporaryDirectory(prefix="hb-dask-") as directory:
        try:
            asyncio.run(_serve(dask, scheduler, directory, say))
        finally:
            worker.finish()


async def _serve(dask: Any, scheduler: str, directory: str, say: Callable[[str], None]) -> None:
    try:
        one = await asyncio.wait_for(
            dask.Worker(
                scheduler, nthreads=1, memory_limit=0, local_directory=directory, death_timeout=_CONNECT_SECONDS
            ),
            2 * _CONNECT_SECONDS,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Dask scheduler: {str(error) or type(error).__name__}",
            where=scheduler,
            next_step="start `dask scheduler`, and give its address",
        ) from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: asyncio.ensure_future(one.close(reason="interrupted")))
    say(f"{one.address} measures for {scheduler}; Ctrl-C ends it")
    await one.finished()
