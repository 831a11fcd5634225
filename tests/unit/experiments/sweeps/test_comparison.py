"""Two runs side by side: what both measured, in the first one's order."""

from __future__ import annotations

from experiments.frame.experiment import Sample, SampleTable
from experiments.sweeps.comparison import compare, different_privileges


def table(*rows: tuple[str, str, dict[str, int], list[float]]) -> SampleTable:
    return SampleTable(Sample(metric, value, unit, labels) for metric, unit, labels, values in rows for value in values)


def test_what_both_measured_is_compared_by_medians() -> None:
    a = table(("rate", "x", {"n": 1, "m": 2}, [1.0, 2.0, 3.0]), ("time", "s", {}, [4.0]), ("only", "s", {}, [1.0]))
    b = table(("time", "s", {}, [2.0]), ("rate", "x", {"m": 2, "n": 1}, [8.0, 6.0]))
    rate, time = compare(a, b)
    assert (rate.metric, rate.unit, rate.labels) == ("rate", "x", {"n": 1, "m": 2})
    assert (rate.a.median, rate.b.median, rate.ratio) == (2.0, 7.0, 3.5)
    assert (rate.a.n, rate.b.n) == (3, 2)
    assert (time.metric, time.ratio) == ("time", 0.5)


def test_other_units_or_labels_are_something_else() -> None:
    one = table(("rate", "x", {"n": 1}, [1.0]))
    assert compare(one, table(("rate", "y", {"n": 1}, [1.0]))) == []
    assert compare(one, table(("rate", "x", {"n": 2}, [1.0]))) == []


def test_nothing_has_no_ratio() -> None:
    (found,) = compare(table(("rate", "x", {}, [0.0])), table(("rate", "x", {}, [1.0])))
    assert found.ratio is None


def test_values_are_apart_where_their_quartiles_do_not_overlap() -> None:
    def apart(a: list[float], b: list[float]) -> bool:
        (found,) = compare(table(("rate", "x", {}, a)), table(("rate", "x", {}, b)))
        return found.apart

    # Quartiles of the first: 2 to 4.
    middle = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [apart(middle, [one]) for one in (1.9, 2.0, 3.0, 4.0, 4.1)] == [True, False, False, False, True]


def test_it_is_said_where_one_run_was_root_s_and_the_other_was_not() -> None:
    root, rootless, earlier = {"privileges": "root"}, {"privileges": "rootless"}, dict[str, str]()
    assert different_privileges(root, rootless).startswith("A was measured as root, and B rootless")
    assert different_privileges(rootless, earlier).startswith("A was measured rootless, and B as root")
    for one in (root, rootless, earlier):
        assert different_privileges(one, one) == ""
