"""The committed gRPC code is what today's hoverboard/contract/fabric.proto generates."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
PROTO = "hoverboard/contract/fabric.proto"
GENERATED = ("fabric_pb2.py", "fabric_pb2.pyi", "fabric_pb2_grpc.py")
HOW = f"python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. {PROTO}"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the code generated now."""
    out = tmp_path_factory.mktemp("generated")
    status = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"-I{files('grpc_tools') / '_proto'}",
            *(f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")),
            str(ROOT / PROTO),
        ]
    )
    assert status == 0
    return out / "hoverboard" / "contract"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_code_matches_the_proto_file(fresh: Path, name: str) -> None:
    committed = (ROOT / "hoverboard" / "contract" / name).read_text()
    assert _without_blank_ends(committed) == _without_blank_ends((fresh / name).read_text()), f"run: {HOW}"


def test_every_generated_file_is_looked_at() -> None:
    there = {path.name for path in (ROOT / "hoverboard" / "contract").glob("*_pb2*.py*") if path.suffix != ".pyc"}
    assert there == set(GENERATED)


def _without_blank_ends(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip()
