"""Prints the documents of `--json` (`hoverboard.contract.documents`)."""

from __future__ import annotations

import json
from typing import Any


def print_json(document: Any) -> None:
    """Print a document to stdout, indented."""
    print(json.dumps(document, indent=2))
