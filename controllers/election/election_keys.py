"""Reads the keys of elections in the store. A value that makes no sense is logged and ignored.

The keys of partition P: `partition/P/term`, a whole number; `partition/P/master`, JSON with the name of the replica.
"""

from __future__ import annotations

import json
import logging

from controllers.store.port import Entry

_log = logging.getLogger(__name__)
_MOST = 2**63 - 1  # a term is an int64 on the wire


def partition_and_kind(entry: Entry) -> tuple[int, str] | None:
    """(partition, "term" or "master"); None: the key is not of an election."""
    parts = entry.key.split("/")
    if len(parts) == 3 and parts[0] == "partition" and _is_number(parts[1]):
        return int(parts[1]), parts[2]
    _log.warning("%s: ignored: not a key of an election", ascii(entry.key[:100]))
    return None


def term(entry: Entry) -> int | None:
    """The term; None: the key is gone, or its value is no term."""
    if entry.data is None:
        return None
    if _is_number(entry.data) and int(entry.data) <= _MOST:
        return int(entry.data)
    _log_ignored(entry)
    return None


def master(entry: Entry) -> str | None:
    """The name of the master; None: the key is gone, or its value is no master."""
    if entry.data is None:
        return None
    try:
        document = json.loads(entry.data)
    except (ValueError, RecursionError):
        document = None
    name = document.get("replica") if isinstance(document, dict) else None
    if isinstance(name, str):
        return name
    _log_ignored(entry)
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _log_ignored(entry: Entry) -> None:
    _log.warning("%s: ignored: %s is not a value of ours", ascii(entry.key[:100]), ascii((entry.data or "")[:100]))
