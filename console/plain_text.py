"""Shows text out of files without control characters: a name must not clear the screen or type into the terminal.

Names, messages and results come from topology files, folders of results and hosts. `install` puts one filter before
stdout and stderr of the command, so no line that prints has to think of it. Rich writes its colors past the filter
(`unfiltered`), after `plain` has been applied to the texts.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

# Characters that reorder text, so that it reads otherwise than it is: Unicode's explicit directional formatting.
_REORDER = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_KEPT = "\n\t"


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_TABLE = {
    ord(character): _shown(character)
    for character in (*(chr(code) for code in range(0x100) if unicodedata.category(chr(code)) == "Cc"), *_REORDER)
    if character not in _KEPT
}


def plain(text: str) -> str:
    r"""The text with each control character as its escape: "\x1b[2J" becomes "\\x1b[2J". Newline and tab stay."""
    return text.translate(_TABLE)


class PlainStream:
    """A text stream that shows control characters as escapes; all else is the stream's below.

    Args:
        below: the stream to write to.
    """

    def __init__(self, below: TextIO) -> None:
        self.below = below

    def write(self, text: str) -> int:
        """Write text without its control characters; return its length."""
        self.below.write(plain(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`, as `write` does."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """False: a library that writes here must use no colors, since they would be shown as escapes."""
        return False

    def close(self) -> None:
        """Flush; the stream below stays open."""
        self.below.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def install() -> None:
    """Filter stdout and stderr of this process from now on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, PlainStream):  # None: it is closed
            setattr(sys, name, PlainStream(stream))


def unfiltered(stream: TextIO | PlainStream) -> TextIO:
    """The stream below the filter, for a library that writes colors; `plain` must be applied to its texts."""
    return stream.below if isinstance(stream, PlainStream) else stream
