"""Compares the programming models (paper section 3.3): round trips, flows in switches, load, and CPU."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, number, whole, words
from experiments.observe import cpu_window, hoverboard_counters, run_cost
from experiments.tools import ping
from experiments.workload import traffic
from experiments.workload.udp_exchange import Exchange
from hoverboard.contract.models import NAMES
from topologies.run import host_pairs
from topologies.run.testbed import Testbed
from topologies.spec import schema

_RATE_BPS = 200_000.0  # of each flow: ten times the offload threshold
_SETTLED_SHARE, _WATCHED_SHARE = 0.5, 0.75  # the measured window, as shares of the traffic's time
_STEADY_PAIRS = 4
_CONTROL_PLANE = "control plane"


class Models(Experiment):
    """First packets, steady packets, flows and load, by model."""

    name = "models"
    order = 70
    title = "Programming models side by side"
    source = "section 3.3"
    measures = (
        "First, later and steady round trips of new pairs, and flows of a host and of a Hoverboard. The share of "
        "steady traffic over Hoverboards, and the control plane's CPU. All of it for every model."
    )
    minutes = 2.0
    repeat = 2
    parameters = (
        Parameter("models", NAMES, "", "programming models", choices=NAMES),
        Parameter("vms", 24, "VMs", "in one network on three hosts", quick=12, least=6, most=120),
        Parameter("pairs", 12, "pairs", "that meet for the first time", quick=3, least=2, most=100),
        Parameter("seconds", 6.0, "s", "of steady traffic", quick=2.5, least=2, most=60),
    )

    def points(self, values: Values) -> list[Point]:
        """One point a model."""
        return [{"model": name} for name in words(values, "models")]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure on a fresh testbed, where the pairs have sent no packet yet."""
        network = {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": whole(values, "vms")}
        keys = {
            "hosts": 3, "hoverboards": 1, "model": point["model"], "report_interval": 0.5, "networks": [network],
        }  # fmt: skip
        testbed = bench.fresh(schema.from_keys(keys, name="models"))
        by_name = {vm.name: vm for vm in testbed.topology.vms}
        met = {frozenset((one.name, other.name)) for one, other in host_pairs.pairs(testbed.topology)}
        apart = [
            pair
            for pair in traffic.pairs(list(by_name))
            if by_name[pair[0]].host != by_name[pair[1]].host and frozenset(pair) not in met
        ]
        # A reverse pair or a shared destination would warm the caches of another pair.
        shuffled = bench.random("pairs", across=("model",)).sample(apart, len(apart))
        known = host_pairs.pinged(testbed.topology)  # of the pings of the start; those that none reached come first
        chosen = _independent_pairs(sorted(shuffled, key=lambda pair: pair[1] in known), whole(values, "pairs"))
        before = cpu_window.read()
        for src, dst in chosen:
            found = ping.measure(testbed.node(src), str(by_name[dst].ip), count=8, interval=0.05, wait=2.0)
            bench.raw(f"ping-{src}-{dst}", found.text)
            if len(found.samples) < 4:
                yield Sample("first round trip", None, "ms", point, f"{src} to {dst}: {found.received} of {found.sent}")
                continue
            yield Sample("first round trip", found.samples[0], "ms", point)
            yield Sample("later round trip", median(found.samples[3:]), "ms", point)
        members = run_cost.run_processes(testbed.run)
        cost = cpu_window.cost(before, cpu_window.read(), [one.process.pid for one in members], members)
        yield Sample("control plane CPU", cost.by_kind.get(_CONTROL_PLANE, 0.0) * 1e3 / len(chosen), "ms a pair", point)
        yield from self._steady(point, testbed, chosen, number(values, "seconds"), bench)
        relays = {server.name for server in testbed.topology.hoverboards}
        for name, switch in testbed.control_status()["switches"].items():
            where = "Hoverboard" if name in relays else "host"
            yield Sample(f"flows on a {where}", float(switch["flows"]), "flows", point)

    def _steady(
        self, point: Point, testbed: Testbed, chosen: list[tuple[str, str]], seconds: float, bench: Bench
    ) -> Iterable[Sample]:
        flows = traffic.burst(chosen, _RATE_BPS)
        with Exchange(testbed, flows) as exchange:
            due = traffic.schedule(bench.random("traffic", across=("model",)), flows, seconds, 600)
            with exchange.running(due, seconds) as running:
                running.wait(seconds * _SETTLED_SHARE)
                before, sent = hoverboard_counters.received(testbed), sum(one.offered for one in running.carried)
                running.wait(seconds * _WATCHED_SHARE)
                passed = hoverboard_counters.received(testbed) - before
                sent = sum(one.offered for one in running.carried) - sent
                yield from self._settled(point, testbed, chosen, bench)
                result = running.result()
        bench.raw("flows", result.record(flows))
        yield Sample("over Hoverboards", passed / max(1, sent), "share of datagrams", point)
        yield Sample("lost", 1 - result.arrived, "share of datagrams", point)

    def _settled(self, point: Point, testbed: Testbed, chosen: list[tuple[str, str]], bench: Bench) -> Iterable[Sample]:
        """The round trips of pairs that send, on the path that their model has chosen."""
        addresses = {vm.name: str(vm.ip) for vm in testbed.topology.vms}
        for src, dst in chosen[:_STEADY_PAIRS]:
            found = ping.measure(testbed.node(src), addresses[dst], count=5, interval=0.02, wait=1.0)
            bench.raw(f"steady-ping-{src}-{dst}", found.text)
            if found.samples:
                yield Sample("steady round trip", median(found.samples), "ms", point)
            else:
                yield Sample("steady round trip", None, "ms", point, f"{src} to {dst}: nothing came back")

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The control plane's CPU, round trips, flows, and traffic over Hoverboards."""
        models = table.seen("model")
        return [
            Chart(
                "controller-load", "What the control plane spends on new pairs", "programming model",
                "ms of CPU a pair", [_bars(table, "control plane CPU", "control plane CPU", models)], kind="bars",
                note="All its processes while the pairs meet, including their work without any pair.",
            ),
            Chart(
                "round-trips", "A pair's first round trip, and the later ones", "programming model", "ms",
                [_bars(table, f"{name} round trip", name, models) for name in ("first", "later", "steady")],
                kind="bars", log_y=True,
                note="Later: from the fourth ping on. Steady: while the pair sends, offloaded or not.",
            ),
            Chart(
                "state", "Flows that a switch holds", "programming model", "flows",
                [_bars(table, f"flows on a {name}", name, models) for name in ("host", "Hoverboard")], kind="bars",
            ),
            Chart(
                "gateway-load", "Steady traffic that passes a Hoverboard", "programming model",
                "share of the datagrams",
                [_bars(table, "over Hoverboards", "over Hoverboards", models)], kind="bars",
                note=f"Each pair sends {_RATE_BPS / 1e3:.0f} kbit/s; measured after {_SETTLED_SHARE:.0%} of the time.",
            ),
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdicts on the claims of section 3.3."""
        first = {name: table.median("first round trip", model=name) for name in NAMES}
        over = {name: table.median("over Hoverboards", model=name) for name in NAMES}
        found = []
        if (asked := first["on-demand"]) is not None and (went := first["hoverboard"]) is not None:
            found.append(
                ClaimVerdict(
                    "on demand, a first packet waits for the controller; over a Hoverboard it does not",
                    "high first-packet latency", f"{asked:.1f} ms against {went:.1f} ms",
                    "reproduced" if asked > 2 * went else "partly" if asked > went else "not",
                    "The controller is a process on the same machine, idle and a few hundred microseconds away.",
                )
            )  # fmt: skip
        if (all_of := over["gateway"]) is not None and (left := over["hoverboard"]) is not None:
            found.append(
                ClaimVerdict(
                    "a gateway carries everything, a Hoverboard only what is not offloaded", "all against < 1 %",
                    f"{all_of:.0%} against {left:.0%}",
                    "reproduced" if all_of > 0.9 and left < 0.05 else "partly" if left < all_of / 2 else "not",
                    "All pairs here are above the threshold; in a real cluster most are far below it.",
                )
            )  # fmt: skip
        on_host = {name: table.median("flows on a host", model=name) for name in ("preprogrammed", "hoverboard")}
        if (mesh := on_host["preprogrammed"]) is not None and (few := on_host["hoverboard"]) is not None:
            found.append(
                ClaimVerdict(
                    "preprogrammed hosts hold the whole network, Hoverboard hosts do not", "O(n h) against O(n)",
                    f"{mesh:.0f} flows a host against {few:.0f} (offloads included)",
                    "reproduced" if mesh > few else "not",
                    f"{whole(values, 'vms')} VMs only; programming-time shows how this grows.", None,
                )
            )  # fmt: skip
        return found


def _independent_pairs(among: Iterable[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Up to `count` of the pairs, without two that share a receiver or are the reverse of each other."""
    found: list[tuple[str, str]] = []
    receivers: set[str] = set()
    for src, dst in among:
        if dst not in receivers and (dst, src) not in found:
            receivers.add(dst)
            found.append((src, dst))
        if len(found) == count:
            break
    return found


def _bars(table: SampleTable, metric: str, label: str, models: list[str]) -> Series:
    several = [(name, spread) for name in models if (spread := table.spread(metric, model=name)) is not None]
    return Series(label, [name for name, _ in several], [one.median for _, one in several], [one for _, one in several])
