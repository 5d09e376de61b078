"""A real timestamping authority for tests: `openssl ts` behind a small HTTP server."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.audit.anchoring import Tsa

_CONFIG = """[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""
_ENDS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass
class SmallTsa:
    """`folder` holds its keys; `fault` makes it answer badly; `asked` is what it was sent."""

    folder: Path
    days: float = 5  # how long its certificate is still valid
    fault: str = ""
    asked: list[bytes] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir()
        now = datetime.now(UTC)
        root_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root of tests")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of tests")])
        since, until = now - timedelta(days=8), now + timedelta(days=9)
        builder = x509.CertificateBuilder().issuer_name(issuer).not_valid_before(since)
        self.root = (
            builder.subject_name(issuer)
            .public_key(root_key.public_key())
            .serial_number(1)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        own = (
            builder.subject_name(subject)
            .public_key(own_key.public_key())
            .serial_number(2)
            .not_valid_after(now + timedelta(days=self.days))
            .add_extension(_ENDS, critical=True)
            .add_extension(usage, critical=True)
            .sign(root_key, hashes.SHA256())
        )
        key = own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "root.pem").write_bytes(self.root.public_bytes(Encoding.PEM))
        (self.folder / "tsa.pem").write_bytes(own.public_bytes(Encoding.PEM))
        (self.folder / "tsa.key").write_bytes(key)
        (self.folder / "serial").write_text("01")
        (self.folder / "config").write_text(_CONFIG.format(folder=self.folder))

    @property
    def client(self) -> Tsa:
        return Tsa(self.url, [self.root])

    def answer(self, query: bytes) -> bytes:
        self.asked.append(query)
        asked = self.asked[0] if self.fault == "replay" else query
        asked_file = self.folder / "query"
        asked_file.write_bytes(asked)
        command = ["openssl", "ts", "-reply", "-config", str(self.folder / "config")]
        command += ["-queryfile", str(asked_file)]
        return subprocess.run(command, capture_output=True, check=True).stdout


@contextlib.contextmanager
def running(tsa: SmallTsa) -> Iterator[SmallTsa]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = tsa.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(503 if tsa.fault == "away" else 200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(b"<html>" if tsa.fault == "nonsense" else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    tsa.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield tsa
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
