"""Where the text of a topology comes from: a file, a shipped one, or a pipe; never a device or a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError
from topologies.spec import schema


def test_a_file_gives_its_name_and_its_folder_and_a_pipe_neither(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("hosts: 2\n")
    path = str(tmp_path / "mine.yaml")
    assert schema.read(path) == {"text": "hosts: 2\n", "source": path, "name": "mine", "base": tmp_path}
    reader, writer = os.pipe()
    os.write(writer, b"hosts: 3\n")
    os.close(writer)
    try:
        path = f"/dev/fd/{reader}"
        assert schema.read(path) == {"text": "hosts: 3\n", "source": path, "name": "topology", "base": Path()}
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/dev/null", "cannot read the topology file: it is a device\n  -> give a regular file, or a pipe such as"),
        (".", "cannot read the topology file: it is a directory"),
        ("nowhere", "there is no such topology file\n  -> give the path of a YAML file, or the name of a shipped"),
        ("-", "-: there is no such topology file\n  -> to read standard input, give /dev/stdin"),
    ],
)
def test_what_is_no_topology_file_is_rejected(
    path: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as rejected:
        schema.read(path)
    assert what in str(rejected.value)
