"""Checks the files of a folder of results as they are read: a folder may come from anybody, or be damaged. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one on Python 3.11

from experiments.frame.experiment import Sample
from hoverboard.contract.errors import InputError

_STEP = "give a folder that `experiment run` made, and that is not damaged"


class CodeOfRun(TypedDict):
    """The checkout that ran."""

    commit: str | None
    changed: bool | None


class MachineOfRun(TypedDict):
    """The machine that measured; the reports show its other keys as they are."""

    cores: int
    cpu: str
    kernel: str


class CPUs(TypedDict):
    """Which CPUs processes were pinned to."""

    dataplane: list[int]
    others: list[int]


class RecordOfRun(TypedDict):
    """The types of the keys of a record that the reports use."""

    taken: str
    command: str
    privileges: NotRequired[Literal["root", "rootless"]]  # absent: root, in an earlier version
    code: CodeOfRun
    machine: MachineOfRun
    versions: dict[str, str]
    missing: list[str]
    pinning: NotRequired[CPUs | str]


class RunFile(TypedDict):
    """The types of the keys in run.json that the reports use."""

    experiment: str
    where: str
    parameters: dict[str, Any]
    sweep: dict[str, Any]
    quick: bool
    seed: int
    repeat: int
    record: RecordOfRun
    machines: NotRequired[dict[str, Any]]


class PointLine(TypedDict):
    """A line of points.jsonl."""

    key: str
    point: dict[str, Any]
    repetition: int
    seconds: float
    samples: list[Sample]
    error: str
    machine: str


_RUN, _POINT = TypeAdapter(RunFile), TypeAdapter(PointLine)


def read_run(text: str, where: str) -> dict[str, Any]:
    """The document of run.json.

    Raises:
        InputError: it is no JSON, or a key has a wrong type.
    """
    document = _json(text, where)
    try:
        _RUN.validate_python(document, strict=True)
    except ValidationError as error:
        raise _wrong(error, where) from None
    return dict(document)


def read_point(line: str, where: str) -> PointLine:
    """A line of points.jsonl.

    Raises:
        InputError: a key is missing, or has a wrong type.
        ValueError: it is no JSON: a crash may have cut it.
    """
    document = json.loads(line)
    try:
        return _POINT.validate_python(document)
    except ValidationError as error:
        raise _wrong(error, where) from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("the file is no JSON", where=where, next_step=_STEP) from None


def _wrong(error: ValidationError, where: str) -> InputError:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(map(str, first["loc"])) or "the document"
    return InputError(f"{key}: {first['msg']}", where=where, next_step=_STEP)
