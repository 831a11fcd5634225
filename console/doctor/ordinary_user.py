"""Judges what an ordinary user has for runs without root, and what root's machine has for ordinary users.

An ordinary user reads here once what its runs do without; `status` says it in one line (`topologies.rootless.lacking`).
The paper has no counterpart.
"""

from __future__ import annotations

from collections.abc import Iterator

from console.doctor.findings import Line
from console.doctor.port import Probes

# A setting of the kernel -> (the value that forbids user namespaces, one that allows them).
_FORBIDDING = {
    "user.max_user_namespaces": ("0", "10000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
_NO_SETTING = "no setting of the kernel says why: a container or a security module may forbid it"
_NONE_TO_BLAME = "only root can have runs here"


def user_lines(probes: Probes) -> Iterator[Line]:
    """The findings of an ordinary user: what a run needs, then what it does without."""
    yield Line("root", "ok", "no", "your runs are rootless: in namespaces of your own (docs/rootless.md)")
    if reason := probes.user_namespaces():
        settings, step = _forbidding(probes)
        yield Line("user namespaces", "missing", "; ".join([reason, *settings]), f"{_NONE_TO_BLAME}; {step}", True)
    else:
        yield Line("user namespaces", "ok", "a run can have its own", "", True)
    if (fault := probes.tun_fault()) is not None:
        mode = probes.tun_device()
        detail = fault[0] if not mode else f"{fault[0]} (mode {mode})"
        yield Line("/dev/net/tun", "missing", detail, fault[1], True)
    else:
        yield Line("/dev/net/tun", "ok", f"mode {probes.tun_device()}", "", True)
    if (fault := probes.limits_fault()) is not None:
        yield Line("limits", "missing", *fault, True)
    else:
        yield Line("limits", "ok", "open files and processes suffice", "", True)
    for lack in probes.lacks():
        detail = f"{lack.why}; {probes.subordinate_ids()}" if lack.what == "other users" else lack.why
        consequence = f"{lack.consequence}; {lack.step}" if lack.step else lack.consequence
        yield Line(lack.what, "degraded", detail, consequence)
    yield Line("real-time, huge pages, BPF", "ok", "are root's", "no run uses them")


def line_for_root(probes: Probes) -> Line:
    """Whether ordinary users could have runs on root's machine."""
    details, steps = [], []
    if reason := probes.user_namespaces():
        settings, step = _forbidding(probes)
        details += [reason, *settings]
        steps.append(step)
    mode = probes.tun_device()
    if not mode or int(mode, 8) & 0o006 != 0o006:
        details.append(f"/dev/net/tun {f'has mode {mode}' if mode else 'is not there'}")
        steps.append(f"for them: {'chmod 0666 /dev/net/tun' if mode else 'modprobe tun'}")
    if details:
        return Line("ordinary users", "degraded", "; ".join(details), f"{_NONE_TO_BLAME}; {'; '.join(steps)}")
    return Line("ordinary users", "ok", "can have runs, without sudo")


def _forbidding(probes: Probes) -> tuple[list[str], str]:
    """The settings that forbid user namespaces, each with its value, and the administrator's line that changes them."""
    found = {name: value for name, value in probes.namespace_settings().items() if name in _FORBIDDING}
    wrong = [name for name, value in found.items() if value == _FORBIDDING[name][0]]
    if not wrong:
        return [], _NO_SETTING
    words = " ".join(f"{name}={_FORBIDDING[name][1]}" for name in wrong)
    return [f"{name} is {found[name]}" for name in wrong], f"the administrator's line is: sudo sysctl -w {words}"
