"""Tells what an ordinary user's run does without, and what follows: `hoverboard doctor` and `status` say it once.

Nothing is changed. Cgroups and a negative nice value may be there: systemd delegates a cgroup to a user
(`systemd-run --user --scope -p Delegate=yes`), and an administrator raises the limit `nice` (limits.conf(5)).
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass

from hoverboard import mapped_users
from hoverboard.coprocessor import cpu_account

# The nice value of switches and fast path is -10; the limit counts from 20 downwards (getrlimit(2), RLIMIT_NICE).
NICE_LIMIT = 20 + 10


@dataclass(frozen=True)
class Lack:
    """Something that root's runs have.

    Attributes:
        what: in a word or two.
        why: what the machine says.
        consequence: what follows.
        step: how a user or an administrator can change it; empty: not at all.
    """

    what: str
    why: str
    consequence: str
    step: str = ""


def of_this_process() -> list[Lack]:
    """The things that a run of this process does without; none if it is the machine's root."""
    if mapped_users.privileges() == "root":
        return []
    return list(_lacks(cpu_account.why_no_cgroup(), resource.getrlimit(resource.RLIMIT_NICE)[0]))


def _lacks(no_cgroup: str, nice_limit: int) -> Iterator[Lack]:
    if no_cgroup:
        yield Lack(
            "cgroups", no_cgroup, "the CPU time of coprocessors is that of their threads' clocks",
            "with systemd, begin with: systemd-run --user --scope -p Delegate=yes" if "v2" in no_cgroup else "",
        )  # fmt: skip
    if nice_limit != resource.RLIM_INFINITY and nice_limit < NICE_LIMIT:
        yield Lack(
            "negative nice", "the limit does not allow it",
            "switches and fast path wait for other busy processes: rates are lower and delays longer beside them",
            "the administrator allows it in /etc/security/limits.d: USER - nice -10",
        )  # fmt: skip
    yield Lack("other users", "only you are mapped", "`exec --as` and `chown` to another user are refused")
