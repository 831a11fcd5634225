"""All samples of a run, asked for values, spreads, labels and lines."""

from __future__ import annotations

from experiments.frame.experiment import Experiment, Sample, SampleTable
from experiments.frame.sample_statistics import Spread

TABLE = SampleTable(
    [
        Sample("rate", 3.0, "x", {"streams": 16, "name": "b"}),
        Sample("rate", 1.0, "x", {"streams": 1, "name": "a"}),
        Sample("rate", 5.0, "x", {"streams": 16, "name": "b"}),
        Sample("rate", None, "x", {"streams": 4, "name": "c"}, "no answer"),
        Sample("time", 7.0, "s", {"streams": 64}),
        Sample("point", None, "", {}, "it broke"),
    ]
)


def test_values_have_the_metric_and_all_the_labels_that_are_asked_for() -> None:
    assert len(TABLE) == 6
    assert TABLE.values("rate") == [3.0, 1.0, 5.0]
    assert TABLE.values("rate", streams=16) == [3.0, 5.0]
    assert TABLE.values("rate", streams=16, name="a") == []
    assert TABLE.values("time", streams=64) == [7.0]
    assert TABLE.values("time", name="b") == []


def test_a_spread_and_a_median_need_a_value() -> None:
    assert TABLE.spread("rate", streams=16) == Spread(2, 3.5, 4.0, 4.5)
    assert (TABLE.median("rate", streams=16), TABLE.median("rate", streams=1)) == (4.0, 1.0)
    assert (TABLE.spread("rate", streams=4), TABLE.median("rate", streams=4)) == (None, None)


def test_labels_are_seen_in_order_of_appearance_once_each() -> None:
    assert TABLE.seen("streams") == [16, 1, 4, 64]
    assert TABLE.seen("streams", "rate") == [16, 1, 4]
    assert TABLE.seen("name", "time") == []


def test_failed_samples_are_those_without_a_value() -> None:
    assert [one.error for one in TABLE.failed()] == ["no answer", "it broke"]


def test_a_line_is_of_medians_in_the_chart_s_unit() -> None:
    line = TABLE.line("rate", "streams", "label", lambda value: value * 10)
    assert (line.label, line.x, line.y) == ("label", [16, 1], [40.0, 10.0])
    assert line.spreads == [Spread(2, 35.0, 40.0, 45.0), Spread(1, 10.0, 10.0, 10.0)]
    assert not line.paper
    assert TABLE.line("rate", "streams", "b", name="b").y == [4.0]


def test_an_experiment_draws_and_claims_nothing_unless_it_says_so() -> None:
    class Plain(Experiment):
        def points(self, values: object) -> list[dict[str, object]]:
            return []

        def measure(self, point: object, values: object, bench: object) -> list[Sample]:
            return []

    assert (Plain().charts(TABLE, {}), Plain().verdicts(TABLE, {})) == ([], [])
