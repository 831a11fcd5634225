"""What users of version 0.1 wrote, by its README and docs. This file is not to be changed: it has to run as it is."""

from controllers.fm.client import FabricClient
from controllers.vmc.offload import Decision, OffloadPolicy
from experiments import iperf, packet_rate, ping, round_trip
from experiments.cpu_window import read
from experiments.frame.experiment import Chart, Experiment, Sample, Verdict
from experiments.frame.parameters import Parameter
from experiments.iperf import IperfSpec
from experiments.path import PathSampler
from hoverboard.contract.errors import MeasurementError
from hoverboard.coprocessor.stage import ConfiguredStage, StageConfig
from topologies.net import HoverboardNet
from topologies.schema import load
from topologies.testbed import Testbed
from topologies.topo import ClusterTopo, TwoHosts

TOOLS = (iperf, packet_rate, ping, round_trip, read, PathSampler)


class Pair(ClusterTopo):
    def build(self, **_params):
        self.addVMHost("a")
        self.addVMHost("b", dataplane="ovs")
        self.addHoverboard("gate")
        self.addNetwork("green", vni=99, subnet="192.168.7.0/24")
        self.addVM("left", network="green", host="a")
        self.addVM("right", network="green", host="b", ip="192.168.7.77")


class Sizes(Experiment):
    name, title, source = "ping-sizes", "Round trip over packet size", "a question of our own"
    measures, minutes = "pings between two hosts, small and large", 0.5
    parameters = (
        Parameter("sizes", (56, 600, 1300), "bytes", "of a ping", quick=(56, 1300), least=16, most=1400),
        Parameter("count", 50, "", "pings of a point", quick=10, least=1),
    )

    def points(self, values):
        return [{"size": size} for size in values["sizes"]]

    def measure(self, point, values, bench):
        testbed = bench.testbed("two-hosts")
        one, two = testbed.topology.vms[:2]
        found = ping.measure(testbed.node(one.name), str(two.ip), count=values["count"], size=point["size"])
        bench.raw("ping", found.text)
        if not found.samples:
            raise MeasurementError("no answer")
        yield from (Sample("round trip", 1000 * ms, "us", point) for ms in found.samples)

    def charts(self, table, values):
        return [Chart("sizes", self.title, "bytes of payload", "us", [table.line("round trip", "size", "ping")])]

    def verdicts(self, table, values):
        return [Verdict("pings arrive", "yes", f"{len(table)} samples", "reproduced", "made up")]


class Config(StageConfig):
    largest: int = 1500


class NoJumbo(ConfiguredStage[Config]):
    """Drops frames that are larger than allowed."""

    name = "no-jumbo"
    Config = Config

    def process(self, batch):
        for packet in batch:
            if len(packet.frame) > self.config.largest:
                packet.drop("jumbo")
        return [packet for packet in batch if packet.reason is None]


class Half(OffloadPolicy):
    """Offload the busier half."""

    def decide(self, host, candidates, now):
        busiest = sorted(candidates, key=lambda one: -one[1])
        return Decision(start=tuple(pair for pair, rate in busiest[: len(busiest) // 2]))


def names():
    return [vm.name for vm in load("two-hosts").vms], [vm.name for vm in TwoHosts().topology().vms]


def flow(run):
    with Testbed("two-hosts", run=run) as testbed:
        one, two = testbed.node("blue-1"), testbed.node("blue-2")
        result = iperf.measure(one, two, two.IP(), IperfSpec(seconds=1))
        return result.bps, testbed.offloads(), testbed.status()["state"]


def entities(socket):
    with FabricClient(socket) as fabric:
        return fabric.status(), fabric.entities("VM")


def pinged(run):
    with HoverboardNet(topo=Pair(), run=run) as net:
        return net["left"].cmd("ping -c1 -W2 192.168.7.77")
