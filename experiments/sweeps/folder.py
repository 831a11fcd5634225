"""The folder of a run on disk. Each point is written when it ends, so a later failure loses no measured point.

- run.json: experiment, parameters, seed, versions, machine, commit
- points.jsonl: one line for each finished point, with its samples, its seconds, and its error if it failed
- raw/: the output of the tools: iperf3's JSON, round trips, traffic offered and arrived
- topologies/: the testbeds, as files for `hoverboard up`
- experiment.py: the user's own experiment
- samples.csv: all samples, one a row; written from points.jsonl, like figures/, report.html and summary.md
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.frame.experiment import Point, Sample, SampleTable
from experiments.sweeps.folder_files import read_point, read_run
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import file_of
from hoverboard.safe_files import make_folder, open_to_append, write_file
from hoverboard.text_files import read_text

RUN, POINTS, RAW, SAMPLES, TOPOLOGIES = "run.json", "points.jsonl", "raw", "samples.csv", "topologies"
SOURCE = "experiment.py"
# Two measurements can be in one table only if these are the same.
SAME = ("experiment", "parameters", "sweep", "quick", "seed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of measuring a point once.

    Attributes:
        key: the name of the point, with its parameters and repetition.
        error: the error that ended it early; "": none.
        raw: documents and texts by name.
        machine: the name of the machine that measured it; "": this machine.
    """

    key: str
    point: Point
    repetition: int
    seconds: float
    samples: list[Sample]
    error: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    machine: str = ""

    def all_samples(self) -> list[Sample]:
        """The samples of the point. A failed point has one more, with the error."""
        return [*self.samples, *([Sample("point", None, "", self.point, self.error)] if self.error else [])]


def key_of(point: Mapping[str, Any], changed: Mapping[str, Any], repetition: int) -> str:
    """The name of a point in files. The same settings always give the same name."""
    words = [f"{name}={value}" for name, value in (*changed.items(), *point.items())]
    return re.sub(r"[^A-Za-z0-9_.=,+-]+", "_", ",".join([*words, f"repetition={repetition}"]))


class Folder:
    """The folder of a run. `create` makes it, and `Folder(path)` opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, document: dict[str, Any], *, resume: bool) -> Folder:
        """Make the folder, or continue in it with `resume`.

        Raises:
            InputError: the folder has another run, or this run by another version of the code.
        """
        folder = cls(path)
        if (path / RUN).exists():
            folder._check_resumable(document, resume)
            return folder
        if path.exists() and any(path.iterdir()):
            raise InputError(
                "the folder is not empty, and it is not the folder of a run",
                where=str(path),
                next_step="give another --out",
            )
        make_folder(path / RAW)
        write_file(path, RUN, json.dumps(document, indent=2) + "\n")
        return folder

    def _check_resumable(self, document: dict[str, Any], resume: bool) -> None:
        if not resume:
            raise InputError(
                "the folder has a run already", where=str(self.path), next_step="add --resume, or give another --out"
            )
        before = self.document()
        as_read = json.loads(json.dumps(document))
        for name in SAME:
            if before.get(name) != as_read[name]:
                raise InputError(
                    f"the run there has {name} {before.get(name)}, not {as_read[name]}",
                    where=str(self.path),
                    next_step="resume with the same options, or give another --out",
                )
        if before["record"]["code"] != as_read["record"]["code"] or before.get("file") != as_read["file"]:
            raise InputError(
                "another version of the code began the run there, and results never mix versions",
                where=str(self.path),
                next_step="give another --out, or check out that version",
            )
        mine, theirs = (one["record"].get("privileges", "root") for one in (as_read, before))
        if mine != theirs:
            raise InputError(
                f"the run there is {theirs}, and this one would be {mine}: results never mix the two",
                where=str(self.path),
                next_step=f"resume it {'with sudo' if theirs == 'root' else 'without sudo'}, or give another --out",
            )
        # The number of repetitions may change.
        write_file(self.path, RUN, json.dumps(before | {"repeat": document["repeat"]}, indent=2) + "\n")

    def document(self) -> dict[str, Any]:
        """The content of run.json. InputError: it is missing or cannot be read."""
        try:
            text = self._read(RUN)
        except InputError:
            raise InputError(
                f"the folder has no readable {RUN}",
                where=str(self.path),
                next_step="give a folder that `experiment run` made",
            ) from None
        return read_run(text, str(self.path / RUN))

    def _read(self, name: str, errors: str = "strict") -> str:
        step = "give a folder that `experiment run` made"
        return read_text(self.path / name, "file of results", next_step=step, most=None, errors=errors)

    def add(self, outcome: Outcome) -> None:
        """Save one point: first its raw data, then its line in points.jsonl, which marks it as finished."""
        for name, document in outcome.raw.items():
            stem = f"{outcome.key}--{name}"
            if isinstance(document, str):
                write_file(self.path / RAW, f"{stem}.txt", document)
            else:
                write_file(self.path / RAW, f"{stem}.json", json.dumps(document, indent=1) + "\n")
        line = asdict(outcome)
        del line["raw"]
        with open_to_append(self.path, POINTS) as file:
            # A crash may have cut the last line. Then the next line must start on a new line.
            whole = file.tell() == 0 or (file.seek(-1, os.SEEK_END), file.read(1))[1] == b"\n"
            file.write((b"" if whole else b"\n") + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def keep_topologies(self, texts: Mapping[str, str]) -> None:
        """Write the topology files of testbeds, each once."""
        for name, text in texts.items():
            if not (self.path / TOPOLOGIES / f"{name}.yaml").exists():
                write_file(self.path / TOPOLOGIES, f"{name}.yaml", text)

    def keep_source(self, text: str) -> None:
        """Keep the file of a user's own experiment, as no commit contains it."""
        write_file(self.path, SOURCE, text)

    def where(self) -> str:
        """The experiment, for discovery.find. If the user's own file is gone, it is the kept copy."""
        named = str(self.document()["where"])
        found = file_of(named)
        if found is None or found[0].is_file():
            return named
        return f"{self.path / SOURCE}{':' * bool(found[1])}{found[1]}"

    def keep_machines(self, machines: Mapping[str, Any]) -> None:
        """Add the machines of workers to run.json, by name."""
        document = self.document()
        write_file(
            self.path,
            RUN,
            json.dumps(document | {"machines": document.get("machines", {}) | machines}, indent=2) + "\n",
        )

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes, the last one of each point. A line that a crash has cut is left out.

        Raises:
            InputError: a line is no outcome.
        """
        found: dict[str, Outcome] = {}
        if (self.path / POINTS).exists():
            for number, line in enumerate(self._read(POINTS, errors="replace").splitlines(), 1):
                try:
                    document = read_point(line, f"{self.path / POINTS}:{number}")
                except ValueError:
                    continue
                found[document["key"]] = Outcome(**document)
        yield from found.values()

    def done(self) -> set[str]:
        """The keys of points of which every sample was measured. A resumed run skips them."""
        return {one.key for one in self.outcomes() if all(sample.value is not None for sample in one.all_samples())}

    def table(self) -> SampleTable:
        """All samples. A failed point adds one failed sample."""
        return SampleTable([sample for one in self.outcomes() for sample in one.all_samples()])

    def write_csv(self) -> None:
        """Write samples.csv: a row a sample, with its repetition, and a column a label.

        If workers measured, the machine is a column too.
        """
        found = [
            (one, outcome.repetition, dict(one.labels) | ({"machine": outcome.machine} if outcome.machine else {}))
            for outcome in self.outcomes()
            for one in outcome.all_samples()
        ]
        labels = list(dict.fromkeys(name for _, _, several in found for name in several))
        rows = [
            [one.metric, one.value, one.unit, one.error, repetition, *(several.get(name, "") for name in labels)]
            for one, repetition, several in found
        ]
        text = io.StringIO(newline="")
        out = csv.writer(text)
        out.writerow(["metric", "value", "unit", "error", "repetition", *labels])
        out.writerows(rows)
        write_file(self.path, SAMPLES, text.getvalue())
        # Parquet too, if pyarrow is installed.
        if importlib.util.find_spec("pyarrow") is not None:
            arrow, parquet = importlib.import_module("pyarrow.csv"), importlib.import_module("pyarrow.parquet")
            columns = io.BytesIO()
            parquet.write_table(arrow.read_csv(self.path / SAMPLES), columns)
            write_file(self.path, Path(SAMPLES).with_suffix(".parquet").name, columns.getvalue())
