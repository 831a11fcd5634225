"""The coprocessor of one VM: a floating thread that takes packets, runs their stages and returns them.

Heavy work happens here and is charged to the VM, so a slow or crashing stage does not hurt another VM (paper section
4.4). The source is bounded; its producer counts packets that find no room. The thread sleeps when there is no work, and
is woken only then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from hoverboard.contract.errors import RunError
from hoverboard.coprocessor.chains import Chain, Chains, Runner
from hoverboard.coprocessor.cpu_account import CpuAccount, ThreadClock
from hoverboard.coprocessor.doorbell import Waiter
from hoverboard.coprocessor.registry import Registry
from hoverboard.coprocessor.stage import Packet, StageContext

NO_CHAIN, STOPPED = "no-such-chain", "coprocessor-stopped"
_BATCH = 32  # as the engine's egress batch (paper section 4.2)
_EVENTS = 64  # alarms and errors that are kept
_log = logging.getLogger("hoverboard.coprocessor")


class Source(Protocol):
    """The worker's input: the ring from the engine."""

    def take(self, limit: int) -> list[Packet]:
        """At most `limit` waiting packets, without blocking; from then on the worker has them.

        A source should end a batch after some 64 KB: 32 segments would evict each other from the cache.
        """


class Sink(Protocol):
    """The worker's output: the ring back to the engine."""

    def give(self, packet: Packet) -> None:
        """Accept a packet without blocking; the sink itself counts packets for which it has no room."""


class Worker:
    """The coprocessor of one VM.

    Args:
        context: context of the VM; its `report` gets each event, too.
        source, sink, bell: the ports.
        registry: finds stages.
        account: the account of its CPU time.
        batch: packets that are taken at once.
    """

    def __init__(
        self,
        context: StageContext,
        source: Source,
        sink: Sink,
        bell: Waiter,
        *,
        registry: Registry | None = None,
        account: CpuAccount | None = None,
        batch: int = _BATCH,
    ) -> None:
        self._outer_report = context.report
        self._context = replace(context, report=self._report)
        self._source, self._sink, self._bell, self._batch = source, sink, bell, batch
        self._account: CpuAccount = account or ThreadClock("no cgroup asked for")
        self._drops: dict[str, int] = {}
        self._packets = self._bytes = self._given = self._samples = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self._stopping = False
        self._thread: threading.Thread | None = None
        # The clock of an ended thread cannot be read, so the thread stores its last reading under the lock.
        self._clock_lock = threading.Lock()
        self._cpu_clock: int | None = None
        self._cpu_final = 0.0
        self.chains = Chains(self._context, registry or Registry(), self._drops)

    # --- for the control thread ---

    def start(self) -> None:
        """Start the thread; raises RunError when it was started before."""
        if self._thread is not None:
            raise RunError(
                "the coprocessor was started before",
                where=self._context.vm,
                next_step="make a new worker",
            )
        self._thread = threading.Thread(target=self._run, name=f"coprocessor-{self._context.vm}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread and its account, and drop the packets that it holds. False: it did not end in time.

        A stage that never returns keeps the thread alive; the packets that it has are lost.
        """
        self._stopping = True
        self._bell.ring()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._account.remove()
        return True

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the thread so far."""
        with self._clock_lock:
            return self._cpu_final if self._cpu_clock is None else time.clock_gettime(self._cpu_clock)

    def status(self) -> dict[str, Any]:
        """Counters, as plain data.

        Returns:
            packets, bytes: taken from the source.
            given: returned to the fast path.
            samples: copies shown to stages; no other count includes them.
            held: packets that stages hold.
            drops: {reason: number}.
            errors: {stage: number}.
            cpu_seconds: CPU time of the thread.
            account: how CPU time is counted, in words.
            stages: {name: {held, errors, restarts, ..}}.
            events: [{..}], the last ones.
        """
        runners = self.chains.runners()
        return {
            "packets": self._packets,
            "bytes": self._bytes,
            "given": self._given,
            "samples": self._samples,
            "held": sum(runner.held for runner in runners),
            "drops": dict(self._drops),
            "errors": {runner.name: runner.errors for runner in runners if runner.errors},
            "cpu_seconds": self.cpu_seconds,
            "account": self._account.how,
            "stages": dict(self.chains.statistics()),
            "events": list(self._events),
        }

    # --- the thread ---

    def _run(self) -> None:
        with self._clock_lock:
            self._cpu_clock = time.pthread_getcpuclockid(threading.get_ident())
        try:
            self._enter_account()
            while not self._stopping:
                if not self.turn():
                    self._sleep()
        finally:
            self._end()
            with self._clock_lock:
                self._cpu_final, self._cpu_clock = time.thread_time(), None

    def turn(self) -> bool:
        """Take a batch, run its stages and release held packets; returns whether there was a batch."""
        batch = self._source.take(self._batch)
        if batch:
            by_chain: dict[int, list[Packet]] = {}
            samples: dict[int, list[Packet]] = {}
            for packet in batch:
                if packet.sample:
                    samples.setdefault(packet.chain, []).append(packet)
                    continue
                packet.ledger = self._drops
                self._packets += 1
                self._bytes += len(packet.frame)
                # Flows keep their order: all packets of a flow have the same chain.
                by_chain.setdefault(packet.chain, []).append(packet)
            for number, packets in samples.items():
                self._show_samples(number, packets)
            for number, packets in by_chain.items():
                chain = self.chains.get(number)
                if chain is None:
                    for packet in packets:
                        packet.drop(NO_CHAIN)
                else:
                    self._run_stages(chain.runners, packets)
        self._tick()
        return bool(batch)

    def _show_samples(self, number: int, samples: list[Packet]) -> None:
        self._samples += len(samples)
        chain = self.chains.get(number)
        for runner in chain.runners if chain is not None else ():
            runner.show_samples(list(samples))

    def _run_stages(self, runners: tuple[Runner, ...], packets: list[Packet]) -> None:
        for runner in runners:
            if not packets:
                return
            packets = runner.process(packets)
        for packet in packets:
            self._give(packet)

    def _give(self, packet: Packet) -> None:
        packet.ledger = None
        self._given += 1
        self._sink.give(packet)

    def _tick(self) -> None:
        for runner in self.chains.runners():
            if runner.held:
                for packet in runner.tick(self._context.clock()):
                    chain = self.chains.get(packet.chain)
                    self._run_stages(_stages_after(chain, runner), [packet])

    def _sleep(self) -> None:
        due = [at for runner in self.chains.runners() if (at := runner.deadline()) is not None]
        timeout = min(due) - self._context.clock() if due else None
        if timeout is not None and timeout <= 0:
            return
        self._bell.arm()
        # A packet that came between the last turn and arm() did not ring: take one more turn before the wait.
        if not self._stopping and not self.turn():
            self._bell.wait(timeout)
        self._bell.disarm()

    def _enter_account(self) -> None:
        try:
            self._account.enter(threading.get_native_id())
        except OSError as error:
            self._account.remove()
            self._account = ThreadClock(f"{self._account.how} rejected the thread: {error.strerror}")

    def _end(self) -> None:
        left = sum(runner.abandon() for runner in self.chains.runners())
        if left:
            self._drops[STOPPED] = self._drops.get(STOPPED, 0) + left

    def _report(self, event: Mapping[str, Any]) -> None:
        self._events.append(dict(event))
        if "alarm" in event:
            _log.warning("VM %s: %s", self._context.vm, dict(event))
        self._outer_report(event)


def _stages_after(chain: Chain | None, runner: Runner) -> tuple[Runner, ...]:
    """The stages of a chain that come after `runner`."""
    if chain is None or runner not in chain.runners:
        return ()  # a packet that the stage made itself
    return chain.runners[chain.runners.index(runner) + 1 :]
