"""The account of a coprocessor's CPU time on this machine, whichever there is: a real cgroup, or a reason for none."""

from __future__ import annotations

import threading
import time
import uuid

from hoverboard.coprocessor import accounting
from hoverboard.coprocessor.accounting import Cgroup, ThreadClock
from tests.waiting import until

_SECONDS = 0.2


def test_a_threads_time_is_found_on_its_account():
    charge = accounting.choose(f"hoverboard-test-{uuid.uuid4().hex[:8]}")
    spent = []

    def work():
        charge.enter(threading.get_native_id())
        begin = time.thread_time()
        while time.thread_time() - begin < _SECONDS:
            pass
        spent.append(time.thread_time())

    thread = threading.Thread(target=work)
    try:
        thread.start()
        thread.join()
        assert spent, f"{charge.how} refused the thread"
        if isinstance(charge, Cgroup):
            # What the kernel counts beside: the way in and out of the group.
            assert _SECONDS * 0.9 <= charge.cpu_seconds() <= spent[0] + 0.1
        else:
            assert isinstance(charge, ThreadClock)
            assert charge.why
    finally:
        charge.remove()
    if isinstance(charge, Cgroup):

        def gone() -> bool:
            charge.remove()  # the kernel counts a thread among the group's for a moment after its end
            return not charge.path.exists()

        until(gone, 5.0, f"{charge.path} is still there")
