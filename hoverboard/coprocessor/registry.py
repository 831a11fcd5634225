"""Finds stages: by the name of an entry point (group `hoverboard.stages`), or by path, FILE.py[:Class].

So a stage of your own is one file. Each fault is reported before a packet moves, with the name of the stage and the
place that was searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, cast, runtime_checkable

from hoverboard.contract.checks.class_shape import Method, ShapeFault, shape_fault
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import error_text, file_of, load_class
from hoverboard.coprocessor.stage import ConfiguredStage, Direction, Stage, StageConfig, StageContext, validated

GROUP = "hoverboard.stages"
_METHODS = ("process", "tick", "deadline")
_CALLED = (
    Method("__init__", ("context", "config")), Method("process", ("batch",), items=False),
    Method("tick", ("now",), items=False), Method("deadline", (), items=False),
    Method("sampling", ("config", "direction"), items=False), Method("statistics", (), items=False),
)  # fmt: skip
_HAS = "name, __init__(context, config), process(batch), tick(now), deadline(); see docs/coprocessors.md"
_NEXT = f"a stage has: {_HAS}"
_IN_A_FILE = f"a stage by path is FILE.py or FILE.py:Class, and has: {_HAS}"


@runtime_checkable
class _Processing(Protocol):
    """The method by which a stage is recognized among the classes of a file; find() checks the other ones."""

    def process(self, batch: list[Any]) -> list[Any]: ...


def _installed() -> Iterable[EntryPoint]:
    return entry_points(group=GROUP)


class Registry:
    """Stage classes by reference; each reference is resolved once.

    Args:
        installed: function that gives the entry points of the group.
    """

    def __init__(self, installed: Callable[[], Iterable[EntryPoint]] = _installed) -> None:
        self._installed = installed
        self._found: dict[str, type[Stage]] = {}

    def names(self) -> list[str]:
        """The names of all installed stages."""
        return sorted({point.name for point in self._installed()})

    def find(self, reference: str) -> type[Stage]:
        """The class that a reference names.

        Raises:
            InputError: there is no such entry point, file or class, or the class is not a stage.
        """
        if reference not in self._found:
            if file_of(reference) is not None:
                found = load_class(reference, _Processing, noun="stage", next_step=_IN_A_FILE)
            else:
                found = self._from_entry_point(reference)
            _check_shape(found, reference)
            self._found[reference] = found
        return self._found[reference]

    def check(self, reference: str, config: Mapping[str, Any]) -> None:
        """Check that the stage exists and that its configuration fits its model (`Config`), if it declares one.

        Raises:
            InputError: the fault, with the stage and the key.
        """
        stage = self.find(reference)
        model = getattr(stage, "Config", None)
        if isinstance(model, type) and issubclass(model, StageConfig):
            validated(model, stage.name, config)

    def sampling(self, reference: str, config: Mapping[str, Any], direction: Direction) -> int | None:
        """The sampling rate of a stage, for one direction.

        Returns:
            N: the stage gets copies of one packet in N. 0: none in this direction. None: it takes the packets
                themselves.

        Raises:
            InputError: as check(), or the stage's answer is not such a number.
        """
        stage = self.find(reference)
        ask = getattr(stage, "sampling", None)
        if ask is None:
            return None
        every = ask(config, direction)
        if not isinstance(every, int) or every < 0:
            raise InputError(
                f"sampling() returned {every!r}, not a number of packets", where=f"stage {stage.name}", next_step=_NEXT
            )
        return every

    def make(self, reference: str, context: StageContext, config: Mapping[str, Any]) -> Stage:
        """A new stage object.

        Raises:
            InputError: as check(), or the stage's constructor failed.
        """
        stage = self.find(reference)
        try:
            return stage(context, config)
        except (InputError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise InputError(
                f"the stage cannot be made: {error_text(error)}",
                where=f"stage {stage.name}",
                next_step="correct its config or its __init__",
            ) from error

    def _from_entry_point(self, name: str) -> type[Stage]:
        point = next((point for point in self._installed() if point.name == name), None)
        if point is None:
            known = ", ".join(self.names()) or "none is installed; reinstall the package"
            raise InputError(
                f"there is no stage {name!r}",
                where=f"entry points {GROUP}",
                next_step=f"use one of {known}; or FILE.py:Class",
            )
        try:
            loaded = point.load()
        except Exception as error:
            raise InputError(
                f"the stage cannot be loaded: {error_text(error)}",
                where=f"stage {name} ({point.value})",
                next_step="install the packages that it needs, or correct its entry point",
            ) from error
        return cast(type[Stage], loaded)


def _check_shape(found: object, reference: str) -> None:
    if not isinstance(found, type):
        raise InputError("it is not a class", where=f"stage {reference}", next_step=_NEXT)
    name = getattr(found, "name", None)
    missing = [] if isinstance(name, str) and name else ["name"]
    missing += [method for method in _METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise InputError(f"it lacks {', '.join(missing)}", where=f"stage {reference}", next_step=_NEXT)
    fault = stage_fault(found)
    if fault is not None:
        path = file_of(reference)
        where = f"stage {reference}" if path is None or fault.line is None else f"{path[0]}:{fault.line}"
        raise InputError(fault.what, where=where, next_step=_NEXT)


def stage_fault(kind: type[Any]) -> ShapeFault | None:
    """The fault of a stage's class: a method is missing or cannot be called; None: no fault."""
    if issubclass(kind, ConfiguredStage):
        own = [method._replace(required=method.name == "process") for method in _CALLED]
        return shape_fault(kind, own, ConfiguredStage)
    return shape_fault(kind, _CALLED)
