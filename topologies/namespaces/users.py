"""The command that runs another one as a user of this machine."""

from __future__ import annotations

import pwd

from hoverboard import mapped_users
from hoverboard.contract.checks.similar_names import similar
from hoverboard.contract.errors import InputError


def as_user(name: str) -> list[str]:
    """The first words of a command that runs as a user: uid, gid, groups, and the environment of a login.

    setpriv becomes the command in the end. No capability of root is left.

    Args:
        name: of the user.

    Raises:
        InputError: this machine has no such user, or we are where no other user is mapped.
    """
    if mapped_users.only_one():
        raise InputError(
            f"only one user is mapped in a run of an ordinary user, and {name!r} is another one",
            where="--as",
            next_step="leave --as out: the command has your own rights; or let root bring the run up",
        )
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a zero byte
        near = similar(name, (one.pw_name for one in pwd.getpwall()))
        step = f"did you mean {near!r}?" if near else "choose a user of this machine: `getent passwd` lists them"
        raise InputError(f"this machine has no user {name!r}", where="--as", next_step=step) from None
    ids = ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups"]
    return ["setpriv", *ids, "--inh-caps=-all", "--reset-env"]
