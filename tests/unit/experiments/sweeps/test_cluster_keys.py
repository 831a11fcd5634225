"""Certificates of a Dask cluster: signed by their own authority, for their owner's eyes, never over something else."""

from __future__ import annotations

import os
import shlex
import ssl
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.cli import app
from experiments.sweeps import cluster_keys
from experiments.sweeps.cluster_keys import ClusterKeys
from hoverboard.contract.errors import InputError


def shake_hands(client: ClusterKeys, server: ClusterKeys) -> None:
    """Complete a TLS handshake in memory, or raise SSLError; each side asks the other for its certificate."""
    sides = []
    for one, purpose in ((client, ssl.Purpose.SERVER_AUTH), (server, ssl.Purpose.CLIENT_AUTH)):
        context = ssl.create_default_context(purpose, cafile=str(one.authority))
        context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
        context.load_cert_chain(one.certificate, one.key)
        sides.append(context)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (sides[0].wrap_bio(back, there), sides[1].wrap_bio(there, back, server_side=True))
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(end.getpeercert() for end in ends)


def test_peers_of_one_folder_trust_each_other_and_no_others(tmp_path: Path) -> None:
    keys, others = cluster_keys.make(tmp_path / "a"), cluster_keys.make(tmp_path / "b")
    shake_hands(keys, keys)
    for client, server in ((others, keys), (keys, others)):
        with pytest.raises(ssl.SSLError):
            shake_hands(client, server)


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    keys = cluster_keys.make(tmp_path / "keys")
    assert keys.folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in keys.folder.iterdir()} == {"ca.pem", "peer.pem", "peer-key.pem"}
    assert {path.stat().st_mode & 0o777 for path in keys.folder.iterdir()} == {0o600}


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be made: File exists"):
        cluster_keys.make(tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_command_prints_how_to_start_the_scheduler(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["experiment", "certificates", str(tmp_path / "keys")])
    assert shown.exit_code == 0, shown.stderr
    assert f"--tls-key {tmp_path / 'keys' / 'peer-key.pem'}" in shown.stdout
    (documented,) = (
        block
        for block in (Path(__file__).parents[4] / "docs/experiments.md").read_text().replace("\\\n", "").split("```")
        if "dask scheduler" in block
    )
    words = shlex.split(shown.stdout.splitlines()[-1].partition(": ")[2])
    words = [word.replace("ADDRESS", "10.1.0.1").replace(f"{tmp_path}/", "") for word in words]
    in_docs = shlex.split(documented.partition("/opt/hoverboard/bin/run-in")[2].partition("\nhoverboard")[0])
    assert words[words.index("dask") :] == in_docs, "the page and the command say the same"
    again = CliRunner().invoke(app, ["experiment", "certificates", str(tmp_path / "keys")])
    assert again.exit_code == 2


def test_a_python_without_bootstrap_starts_the_scheduler_as_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ClusterKeys(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert keys.scheduler("::1")[:8] == [sys.executable, "-P", "-s", "-m", "dask", "scheduler", "--host", "::1"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/run-in").touch()
    assert keys.scheduler("::1")[:3] == [str(tmp_path / "bin/run-in"), "dask", "scheduler"]
