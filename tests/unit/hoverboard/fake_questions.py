"""A switch that answers questions about packets as a test says; the fake adapter of SwitchQuestions."""

from __future__ import annotations

from collections.abc import Callable

from hoverboard.vswitch.trace import TraceResult

Answer = TraceResult | Exception


class FakeQuestions:
    """Answers from `answer`, and remembers.

    Attributes:
        answer: a verdict, an exception to raise, or a function from the question to either.
        takes: whether frames that are to be looked up are taken.
        asked: the questions.
        looked_up: (OpenFlow port, frame) of the frames that were taken.
    """

    def __init__(self, answer: Answer | Callable[[str], Answer]) -> None:
        self.answer = answer
        self.takes = True
        self.asked: list[str] = []
        self.looked_up: list[tuple[int, bytes]] = []

    def trace(self, packet: str) -> TraceResult:
        """See SwitchQuestions."""
        self.asked.append(packet)
        answer = self.answer(packet) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def look_up(self, in_port: int, frame: bytes) -> bool:
        """See SwitchQuestions."""
        if self.takes:
            self.looked_up.append((in_port, frame))
        return self.takes
