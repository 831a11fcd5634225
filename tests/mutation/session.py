"""A pytest session that runs no test itself: it collects, then forks processes that run some of the tests."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import coverage
import pytest

from tests.mutation import forking
from tests.mutation.covering import Covering, Store, TestRun, file_of
from tests.mutation.verdicts import UNFIT

PASSED, FAILED = 0, 1
# No time-out of a single test: the one of the whole run is tried twice, and a test's own would look like a failure.
PYTEST = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout", "0")


class Session:
    """What a plan may do while pytest has everything collected and loaded."""

    def __init__(self, session: pytest.Session, checkout: Path) -> None:
        self._session = session
        self._checkout = checkout
        self._items = {item.nodeid: item for item in session.items}

    @property
    def tests(self) -> Collection[str]:
        return self._items.keys()

    def run(self, tests: Sequence[str], seconds: float, before: Callable[[], bool] = lambda: True) -> int | None:
        """In a process of its own: `before`, then the tests until one fails.

        Returns:
            PASSED, FAILED, or another exit code; None when time was up. `before` that gives False: UNFIT.
        """

        def work() -> int:
            if not before():
                return UNFIT
            self._print_to(os.devnull)
            self._session.items[:] = [self._items[test] for test in tests]
            self._session.config.option.maxfail = 1
            with contextlib.suppress(pytest.Session.Failed, pytest.Session.Interrupted):
                _loop(self._session)
            return FAILED if self._session.testsfailed else PASSED

        forking.flush()
        return forking.in_child(work, seconds, self._checkout)

    def _print_to(self, output: str) -> None:
        """Pytest's report goes to a file, and not to the terminal that pytest found when it began."""
        reporter = self._session.config.pluginmanager.getplugin("terminalreporter")
        assert reporter is not None
        reporter._tw._file = open(output, "w")  # noqa: SIM115

    def covering(self, progress: Callable[[str], None]) -> Covering:
        """The map of what runs what, measured where it is not known."""
        store = Store(self._checkout)
        by_file: dict[str, list[str]] = {}
        for test in self.tests:
            by_file.setdefault(file_of(test), []).append(test)
        found: dict[str, TestRun] = {}
        for file, tests in by_file.items():
            known = store.read(file)
            if known is None or set(known) != set(tests):
                progress(f"measuring what {file} runs")
                known = self._measure(tests)
                if known is None:
                    progress(f"{file} does not pass as it is: its tests are left out")
                    continue
                store.write(file, known)
            found |= known
        return Covering(found)

    def _measure(self, tests: Sequence[str]) -> dict[str, TestRun] | None:
        """One test file; None: it does not pass (`.mutation/printed` says why)."""
        kept, printed = (self._checkout / ".mutation" / name for name in ("measured", "printed"))

        def work() -> int:
            self._print_to(str(printed))
            data = self._measure_here([self._items[test] for test in tests])
            if data is None:
                return FAILED
            kept.write_text(json.dumps(data))
            return PASSED

        forking.flush()
        if forking.in_child(work, 900) != PASSED:
            return None
        data = json.loads(kept.read_text())
        kept.unlink()
        return {test: TestRun(seconds, lines) for test, (seconds, lines) in data.items()}

    def _measure_here(self, items: Iterable[pytest.Item]) -> dict[str, tuple[float, dict[str, list[int]]]] | None:
        tracer = coverage.Coverage(
            data_file=None, config_file=False, include=[f"{self._checkout}/*"], omit=["*/tests/*"]
        )
        tracer.set_option("run:disable_warnings", ["no-data-collected"])
        tracer.start()
        found: dict[str, tuple[float, dict[str, list[int]]]] = {}
        chosen = list(items)
        for index, item in enumerate(chosen):
            tracer.switch_context(item.nodeid)
            began = time.monotonic()
            after = chosen[index + 1] if index + 1 < len(chosen) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            found[item.nodeid] = (round(time.monotonic() - began, 4), {})
        tracer.stop()
        if self._session.testsfailed:
            reporter = self._session.config.pluginmanager.getplugin("terminalreporter")
            reporter.summary_failures()
            reporter.summary_errors()
            reporter._tw._file.flush()
            return None
        data = tracer.get_data()
        for name in data.measured_files():
            relative = os.path.relpath(name, self._checkout)
            for line, tests in data.contexts_by_lineno(name).items():
                for test in tests:
                    if test in found:
                        found[test][1].setdefault(relative, []).append(line)
        return found


def _loop(session: pytest.Session) -> None:
    """Pytest's own loop over the session's tests; it raises when the first has failed."""
    for index, item in enumerate(session.items):
        after = session.items[index + 1] if index + 1 < len(session.items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            raise session.Failed("one is enough")


def collect(paths: Sequence[str], checkout: Path, plan: Callable[[Session], int]) -> int:
    """Collect tests and call `plan` instead of running them; give what it gives."""
    result = [2]

    class Plan:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            capture = session.config.pluginmanager.getplugin("capturemanager")
            assert capture is not None
            with capture.global_and_fixture_disabled():
                result[0] = plan(Session(session, checkout))
            return True

    # Once more "-q": without pytest's last line, "no tests ran".
    code = pytest.main([*PYTEST, "-q", *paths], plugins=[Plan()])
    return result[0] if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else 2
