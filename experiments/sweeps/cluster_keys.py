"""Certificates for a Dask cluster: one command makes a folder, and its copy on each machine lets that machine in.

Dask runs any code that a peer sends, so a peer has to prove that it may (docs/security.md). Scheduler, workers and the
command that starts a run use one certificate. An authority of the folder's own signs it. The authority's key is not
kept: so there is never a second certificate.
"""

from __future__ import annotations

import datetime
import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hoverboard.contract.errors import InputError
from hoverboard.safe_files import make_folder, write_file

_DAYS = 365
_MAKE = "make them with: hoverboard experiment certificates DIR"


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """The files of a folder of certificates."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate of the authority."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The certificate of each peer."""
        return self.folder / "peer.pem"

    @property
    def key(self) -> Path:
        """The private key of each peer."""
        return self.folder / "peer-key.pem"

    def check(self) -> None:
        """Check that all files are there.

        Raises:
            InputError: one is missing.
        """
        for path in (self.authority, self.certificate, self.key):
            if not path.is_file():
                raise InputError(f"the folder has no {path.name}", where=str(self.folder), next_step=_MAKE)

    def scheduler(self, address: str) -> list[str]:
        """The words that start the scheduler: it listens for peers on one address of its machine, by TLS alone.

        Without `--dashboard-address`, its pages over HTTP are on all addresses, `--no-dashboard` or not. They are for
        loopback here.
        """
        run_in = Path(sys.prefix).parent / "bin/run-in"
        dask = [str(run_in), "dask"] if run_in.is_file() else [sys.executable, "-P", "-s", "-m", "dask"]
        ways = ["--host", address, "--protocol", "tls", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        return [*dask, "scheduler", *ways, *self._options()]

    def _options(self) -> list[str]:
        return ["--tls-ca-file", str(self.authority), "--tls-cert", str(self.certificate), "--tls-key", str(self.key)]


def make(folder: Path) -> ClusterKeys:
    """Make a new folder with certificates; only its owner can read it.

    Raises:
        InputError: the folder exists, or cannot be made.
    """
    try:
        if os.path.lexists(folder):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        make_folder(folder, mode=0o700)
    except OSError as error:
        raise InputError(
            f"the folder cannot be made: {error.strerror}",
            where=str(folder),
            next_step="give a folder that is not there yet",
        ) from error
    keys = ClusterKeys(folder)
    authority_key, peer_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("Hoverboard cluster authority", authority_key.public_key(), authority_key, None)
    peer = _certificate("hoverboard-peer", peer_key.public_key(), authority_key, authority)
    pem = serialization.Encoding.PEM
    _write(keys.authority, authority.public_bytes(pem))
    _write(keys.certificate, peer.public_bytes(pem))
    _write(
        keys.key,
        peer_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return keys


def _certificate(
    name: str,
    public: ec.EllipticCurvePublicKey,
    signed_by: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of machines differ
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
        .sign(signed_by, hashes.SHA256())
    )


def _write(path: Path, data: bytes) -> None:
    write_file(path.parent, path.name, data, mode=0o600)
