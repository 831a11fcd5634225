"""The demonstration's files: raw data, table, figures, summary and the page, from results that are made up."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from experiments.demo import demo_report
from experiments.observe import provenance
from experiments.observe.flow_path import PathPoint, Timeline
from tests.unit.experiments.demo.demonstration import broken, result
from tests.unit.experiments.undrawn import kept

NEVER_OFFLOADED = Timeline("10.0.0.2", "10.0.0.3", (PathPoint(0.0, 0, 0),), failures=("1.00 s: gone",))


@pytest.fixture(autouse=True)
def known_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool is asked for its version."""
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "c" * 40, "changed": False, "version": "1"})


def cells(page: str, start: str) -> list[str]:
    """The cells of the table row that begins with these words."""
    row = next(one for one in re.findall(r"<tr>(.*?)</tr>", page, re.S) if start in one)
    return [re.sub(r"<.*?>", "", one).strip() for one in re.findall(r"<td.*?>(.*?)</td>", row, re.S)]


def test_figures_have_the_values_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = kept(monkeypatch)
    demo_report.write(result(), tmp_path)
    assert list(drawn) == ["path-fastpath", "path-ovs", "throughput", "latency"]
    assert drawn["path-ovs"].axes[0].get_title("left") == "blue-1 to blue-2, dataplane ovs"
    assert max(drawn["path-ovs"].axes[0].patches[1].get_data().values) == pytest.approx(0.64)  # Gbit/s
    bars = drawn["throughput"].axes[0]
    assert [one.get_width() for one in bars.patches] == [10.0, 20.0, 1.0, 2.0]
    assert bars.get_yticklabels()[1].get_text() == "fastpath, 16 streams"
    assert [one.get_text() for one in drawn["latency"].axes[0].get_yticklabels()] == [
        "fastpath, direct (n=3)", "fastpath, over the Hoverboard (n=2)",
        "ovs, direct (n=3)", "ovs, over the Hoverboard (n=2)",
    ]  # fmt: skip
    assert (tmp_path / "figures" / "topology.svg").read_text().startswith("<svg")


def test_files_hold_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    summary = demo_report.write(result(), tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert summary["record"]["parameters"] == result().parameters
    raw = folder / "raw"
    assert json.loads((raw / "fastpath-iperf3-16-streams.json").read_text()) == {"bps": 2e10}
    assert json.loads((raw / "ovs-iperf3-followed-flow.json").read_text()) == {"bps": 8e6}
    assert (raw / "ovs-ping-direct.txt").read_text() == "3 pings\n"
    assert (raw / "ovs-ping-hoverboard.txt").read_text() == "2 pings\n"
    with (folder / "demo.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["generation", "quantity", "condition", "unit", "value"]
    assert rows[2] == ["fastpath", "throughput", "1 stream", "bit/s", "10000000000.0"]
    assert len(rows) == 1 + len(list(result().csv_rows()))


def test_a_flow_without_iperf3_s_figures_leaves_no_such_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    demo_report.write(broken(timeline=NEVER_OFFLOADED), tmp_path)
    assert [one.name for one in (tmp_path / "raw").glob("*followed*")] == ["ovs-iperf3-followed-flow.json"]


def test_the_page_stands_alone_and_has_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    demo_report.write(result(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "all checks passed" in page
    assert page.count("<svg") == 5
    assert not re.search(r'(src|href)="(?!#)', page), "the report must not need another file"
    for word in ("<b>10.0 ×</b>", "no 40 Gbit/s network", "does not give the interval", "sudo ./bootstrap.sh demo"):
        assert word in page
    assert cells(page, "<td>fastpath, 16 streams") == [
        "fastpath, 16 streams", "20.00", "10.0 ×", "7", "0.8 %", "91 %, 85 %",
    ]  # fmt: skip
    assert cells(page, "<td>ovs, 1 stream<")[:4] == ["ovs, 1 stream", "1.00", "", "7"]
    assert cells(page, "<td>fastpath, direct")[1:] == ["3", "100", "200", "300", "600", "10", "0"]
    assert cells(page, "<td>ovs, over the Hoverboard")[1:] == ["2", "4000", "6000", "6000", "8000", "10", "1"]
    assert "<b>1.20 s</b>from first packet to offload" in page
    assert "8.0 MB went over the Hoverboard, 80.0 MB direct" in page
    assert cells(page, "<td>blue-1</td><td")[1:] == ["·", "200"]
    assert cells(page, "<td>blue-2</td><td")[1:] == ["300 (2/3)", "·"]


def test_the_page_of_a_flow_that_was_never_offloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    demo_report.write(broken(timeline=NEVER_OFFLOADED), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "a check failed" in page
    assert page.count("This flow was never offloaded.") == 1
    assert "1 readings failed and are missing." in page


def test_the_default_folder_has_the_date_in_its_name() -> None:
    folder = demo_report.default_folder()
    assert folder.parent == Path("results")
    assert re.fullmatch(r"demo-20\d{6}-\d{6}", folder.name)
