"""What tests ask about a user's run: its first process, the processes that it names, whether packets flow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoverboard.contract.document_schemas import check
from tests.ordinary_user import OrdinaryUser
from tests.waiting import until

UP_SECONDS = 150.0


def up(user: OrdinaryUser, *words: str, run: str = "mine", **options: Any) -> None:
    """Bring two hosts up in the background."""
    user.ok("up", "two-hosts", "--run", run, "--detach", *words, timeout=UP_SECONDS, **options)


def status(user: OrdinaryUser, *words: str, **options: Any) -> Any:
    """The document of `hoverboard status`."""
    document = json.loads(user.ok("status", *words, "--json", **options))
    check("status-node" if words and not words[0].startswith("-") else "status", document)
    return document


def first_pid(user: OrdinaryUser, run: str = "mine", state: Path | None = None) -> int:
    """The first process of the namespaces of a run, as the machine sees it."""
    with open((state or user.state) / run / "ledger.jsonl", encoding="utf-8") as ledger:
        return int(json.loads(ledger.readline())["first"].split(":")[0])


def inside(pid: int) -> dict[int, int]:
    """The processes in the pid namespace of a process: the number there -> the number here."""
    wanted, found = os.readlink(f"/proc/{pid}/ns/pid"), {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == wanted:
                lines = Path(f"/proc/{entry}/status").read_text(errors="replace").splitlines()
                found[int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])] = int(entry)
        except OSError:
            continue
    return found


def holder_pid(user: OrdinaryUser, run: str = "mine") -> int:
    """The holder of a run, as the machine sees it."""
    records = [json.loads(line) for line in (user.state / run / "ledger.jsonl").read_text().splitlines()]
    holder = next(one["pid"] for one in records if one.get("kind") == "holder")
    return inside(first_pid(user, run))[holder]


def named_pids(document: Any) -> Iterator[int]:
    """All values of "pid" in a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "pid":
                yield value
            else:
                yield from named_pids(value)
    elif isinstance(document, list):
        for one in document:
            yield from named_pids(one)


def owner(pid: int) -> int:
    """The user of a process."""
    return os.stat(f"/proc/{pid}").st_uid


def pings(user: OrdinaryUser, *words: str, **options: Any) -> str:
    """What a ping between the VMs of two hosts says; it must get its answers."""
    return user.ok("exec", *words, "blue-1", "--", "ping", "-c", "2", "-i", "0.1", "-W", "2", "10.0.0.3", **options)


def nothing_is_left(user: OrdinaryUser) -> None:
    """Wait until the user has no process and no run; a first process ends a moment after `down`."""
    seen: list[str] = []

    def none() -> bool:
        seen[:] = user.left()
        return not seen

    try:
        until(none, 20)
    except AssertionError:
        raise AssertionError("\n".join(["left:", *seen])) from None
