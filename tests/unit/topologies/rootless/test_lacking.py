"""What an ordinary user's run does without, on machines that give it more or less."""

from __future__ import annotations

import resource

import pytest

from hoverboard import mapped_users
from hoverboard.coprocessor import cpu_account
from hoverboard.fastpath.engine import threads
from topologies.emulation import ovs_daemons
from topologies.rootless import lacking

NOT_DELEGATED = "cgroup v2 /sys/fs/cgroup/user.slice is not delegated to this user"


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be an ordinary user."""
    monkeypatch.setattr(mapped_users, "only_one", lambda: True)


def given(monkeypatch: pytest.MonkeyPatch, no_cgroup: str, nice: int) -> list[str]:
    monkeypatch.setattr(cpu_account, "why_no_cgroup", lambda: no_cgroup)
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (nice, nice) if limit == resource.RLIMIT_NICE else None)
    return [one.what for one in lacking.of_this_process()]


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("no_cgroup", "nice", "lacks"),
    [
        (NOT_DELEGATED, 0, ["cgroups", "negative nice", "other users"]),
        ("", 0, ["negative nice", "other users"]),
        (NOT_DELEGATED, 29, ["cgroups", "negative nice", "other users"]),
        (NOT_DELEGATED, 30, ["cgroups", "other users"]),
        ("", resource.RLIM_INFINITY, ["other users"]),
    ],
)
def test_what_a_user_is_given_is_not_lacking(
    monkeypatch: pytest.MonkeyPatch, no_cgroup: str, nice: int, lacks: list[str]
) -> None:
    assert given(monkeypatch, no_cgroup, nice) == lacks


@pytest.mark.usefixtures("user")
def test_each_lack_has_a_reason_and_a_consequence(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, NOT_DELEGATED, 0)
    cgroups, nice, others = lacking.of_this_process()
    assert (cgroups.why, nice.why, others.why) == (NOT_DELEGATED, "the limit does not allow it", "only you are mapped")
    assert all(one.consequence for one in (cgroups, nice, others))
    assert "Delegate=yes" in cgroups.step
    assert "nice -10" in nice.step
    given(monkeypatch, "cgroup v1 /sys/fs/cgroup/cpuacct is not delegated to this user", 0)
    assert lacking.of_this_process()[0].step == "", "systemd delegates version 2 alone"


def test_root_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_users, "privileges", lambda: "root")
    assert given(monkeypatch, NOT_DELEGATED, 0) == []


def test_the_limit_is_that_of_the_nice_values_in_use() -> None:
    assert lacking.NICE_LIMIT == 20 - threads.PRIORITY == 20 - int(ovs_daemons.PRIORITY[-1])
