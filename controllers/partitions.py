"""Which partition owns a host, and which front end a switch connects to (paper section 3.1).

Consistent hashing by highest random weight: each process ranks all owners by a hash of owner and key, and takes the
first. No process has to be asked. When an owner is added or removed, only the keys of that owner move.
"""

from __future__ import annotations

from hashlib import blake2b

from hoverboard.contract.errors import InputError


class Owners:
    """The owners 0 to `count` - 1."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise InputError(f"{count} owners own nothing", next_step="use a number of at least 1")
        self.count = count
        self._seeds = [blake2b(number.to_bytes(4, "big"), digest_size=8) for number in range(count)]

    def of(self, dpid: int) -> int:
        """The owner of a datapath id."""
        key = dpid.to_bytes(8, "big")

        def weight(owner: int) -> bytes:
            found = self._seeds[owner].copy()
            found.update(key)
            return found.digest()

        return max(range(self.count), key=weight)
