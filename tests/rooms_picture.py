"""The picture of layers and rooms, docs/rooms.svg, drawn from the table of rooms in docs/architecture.md.

`python -m tests.rooms_picture > docs/rooms.svg` draws it again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
_ROOM = re.compile(r"^\| `([\w/]+)/` \| ", re.M)
# What stands on what, from the top; layers of one row do not import each other. Folders of `hoverboard` that
# `controllers` imports too have a row of their own.
ROWS = (("console", "benchmarks"), ("experiments",), ("topologies",), ("controllers", "hoverboard"))
SHARED = "hoverboard/contract"
TITLES = {
    "console": "what a person types and sees",
    "benchmarks": "speed, beside a named peer",
    "experiments": "measurements and reports",
    "topologies": "brings a run up on Mininet, changes it, takes it down",
    "controllers": "control plane",
    "hoverboard": "data plane",
    SHARED: "what both planes agree on",
}
WIDTH, GAP, PAD, ROOM, HEAD = 760, 10, 10, 26, 30
LETTER = 6.6  # width of a small letter, about

STYLE = """
  .rooms { font: 13px system-ui, sans-serif; fill: #1b1b1b }
  .rooms .layer { fill: #f4f4f2; stroke: #555; stroke-width: 1.2 }
  .rooms .room { fill: #fff; stroke: #888; stroke-width: 1 }
  .rooms .small { font-size: 11px; fill: #555 }
  .rooms .name { font-size: 11.5px }
  .rooms .bold { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .rooms { fill: #eee }
    .rooms .layer { fill: #26282b; stroke: #999 }
    .rooms .room { fill: #1a1b1d; stroke: #777 }
    .rooms .small { fill: #b5b5b5 }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A layer: where it stands, how wide it is, and its rooms."""

    name: str
    rooms: list[str]
    x: float
    width: float

    def lines(self) -> list[list[str]]:
        """Its rooms, in lines that fit its width."""
        lines: list[list[str]] = [[]]
        for room in self.rooms:
            if lines[-1] and _length([*lines[-1], room]) > self.width - 2 * PAD:
                lines.append([])
            lines[-1].append(room)
        return [line for line in lines if line]

    def height(self) -> float:
        """Its height in pixels."""
        return HEAD + len(self.lines()) * (ROOM + 6) + (PAD - 6 if self.rooms else 0)

    def draw(self, y: float, height: float) -> str:
        """Its SVG."""
        title = f'<text x="{self.x + PAD}" y="{y + 20}"><tspan class="bold">{self.name}/</tspan>'
        title += f'<tspan class="small" dx="8">{escape(TITLES[self.name])}</tspan></text>'
        parts = [f'<rect class="layer" x="{self.x}" y="{y}" width="{self.width}" height="{height}" rx="8"/>', title]
        for row, line in enumerate(self.lines()):
            x, top = self.x + PAD, y + HEAD + row * (ROOM + 6)
            for room in line:
                width = _wide(room)
                parts.append(f'<rect class="room" x="{x:g}" y="{top:g}" width="{width:g}" height="{ROOM}" rx="5"/>')
                parts.append(
                    f'<text class="name" x="{x + width / 2:g}" y="{top + 17:g}" text-anchor="middle">{room}</text>'
                )
                x += width + 6
        return "".join(parts)


def _wide(room: str) -> float:
    return round(len(room) * LETTER + 14)


def _length(rooms: list[str]) -> float:
    return sum(map(_wide, rooms)) + 6 * (len(rooms) - 1)


def rooms_of(layer: str, rooms: list[str]) -> list[str]:
    """The rooms of a layer, without its name."""
    inside = [room.removeprefix(f"{layer}/") for room in rooms if room.startswith(f"{layer}/")]
    if layer == "hoverboard":
        inside = [room for room in inside if not f"hoverboard/{room}".startswith(SHARED)]
    return inside


def picture(architecture: str) -> str:
    """The SVG.

    Args:
        architecture: the text of docs/architecture.md.
    """
    rooms = _ROOM.findall(architecture)
    parts, y = [], GAP
    for row in (*ROWS, (SHARED,)):
        width = (WIDTH - GAP * (len(row) + 1)) / len(row)
        boxes = [
            Box(name, rooms_of(name, rooms), GAP + number * (width + GAP), width) for number, name in enumerate(row)
        ]
        height = max(box.height() for box in boxes)
        parts += [box.draw(y, height) for box in boxes]
        y += round(height) + GAP
    label = "Layers of Hoverboard and their rooms; a layer imports only what stands below it"
    return (
        f'<svg class="rooms" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="{label}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    print(picture((ROOT / "docs/architecture.md").read_text(encoding="utf-8")), end="")
