"""The committed gRPC code is what today's hoverboard/contract/wire/*.proto generate."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
PROTOS = sorted(path.stem for path in (ROOT / "hoverboard" / "contract" / "wire").glob("*.proto"))
GENERATED = tuple(f"{proto}_pb2{end}" for proto in PROTOS for end in (".py", ".pyi", "_grpc.py"))
HOW = "python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. hoverboard/contract/wire/*.proto"


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
            *(str(ROOT / "hoverboard" / "contract" / "wire" / f"{proto}.proto") for proto in PROTOS),
        ]
    )
    assert status == 0
    return out / "hoverboard" / "contract" / "wire"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_code_matches_the_proto_file(fresh: Path, name: str) -> None:
    committed = (ROOT / "hoverboard" / "contract" / "wire" / name).read_text()
    assert _without_blank_ends(committed) == _without_blank_ends((fresh / name).read_text()), f"run: {HOW}"


def test_every_generated_file_is_looked_at() -> None:
    there = {
        path.name for path in (ROOT / "hoverboard" / "contract" / "wire").glob("*_pb2*.py*") if path.suffix != ".pyc"
    }
    assert there == set(GENERATED)


def _without_blank_ends(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip()
