"""The account of a coprocessor's CPU time on this machine, whichever there is: a real cgroup, or a reason for none."""

from __future__ import annotations

import threading
import time
import uuid

from hoverboard.coprocessor import cpu_account
from hoverboard.coprocessor.cpu_account import Cgroup, ThreadClock
from tests.waiting import until

_SECONDS = 0.2


def test_a_threads_time_is_found_on_its_account():
    account = cpu_account.choose_account(f"hoverboard-test-{uuid.uuid4().hex[:8]}")
    spent = []

    def work():
        account.enter(threading.get_native_id())
        begin = time.thread_time()
        while time.thread_time() - begin < _SECONDS:
            pass
        spent.append(time.thread_time())

    thread = threading.Thread(target=work)
    try:
        thread.start()
        thread.join()
        assert spent, f"{account.how} rejected the thread"
        if isinstance(account, Cgroup):
            # What the kernel counts beside: the way in and out of the group.
            assert _SECONDS * 0.9 <= account.cpu_seconds() <= spent[0] + 0.1
        else:
            assert isinstance(account, ThreadClock)
            assert account.why
    finally:
        account.remove()
    if isinstance(account, Cgroup):

        def gone() -> bool:
            account.remove()  # the kernel counts a thread among the group's for a moment after its end
            return not account.path.exists()

        until(gone, 5.0, f"{account.path} is still there")
