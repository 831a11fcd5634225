"""Scripted experiments on a running testbed: raw samples, tables, figures, a report.

One module drives each measuring tool (iperf3, ping), and experiments combine these modules.
This layer stands on `topologies` and does not know the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import public_names

PUBLIC = {
    "Experiment": "experiments.frame.experiment",
    "Parameter": "experiments.frame.parameters",
    "Sample": "experiments.frame.experiment",
    "Chart": "experiments.frame.experiment",
    "ClaimVerdict": "experiments.frame.experiment",
    "iperf": "experiments.tools",
    "ping": "experiments.tools",
    "round_trip": "experiments.tools",
    "packet_rate": "experiments.tools",
    "cpu_window": "experiments.observe",
    "flow_path": "experiments.observe",
}
# Modules of version 0.1 that its documents name. The next version removes them.
OLD_PATHS = {
    "experiments.iperf": "experiments.tools.iperf",
    "experiments.ping": "experiments.tools.ping",
    "experiments.round_trip": "experiments.tools.round_trip",
    "experiments.packet_rate": "experiments.tools.packet_rate",
    "experiments.cpu_window": "experiments.observe.cpu_window",
    "experiments.path": "experiments.observe.flow_path",
}

if TYPE_CHECKING:
    from experiments.frame.experiment import Chart as Chart
    from experiments.frame.experiment import ClaimVerdict as ClaimVerdict
    from experiments.frame.experiment import Experiment as Experiment
    from experiments.frame.experiment import Sample as Sample
    from experiments.frame.parameters import Parameter as Parameter
    from experiments.observe import cpu_window as cpu_window
    from experiments.observe import flow_path as flow_path
    from experiments.tools import iperf as iperf
    from experiments.tools import packet_rate as packet_rate
    from experiments.tools import ping as ping
    from experiments.tools import round_trip as round_trip
else:
    __getattr__, __dir__ = public_names(__name__, PUBLIC, OLD_PATHS)
