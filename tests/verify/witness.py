"""A small witness for tests: the server's side of C2SP tlog-witness, for one log, in memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.cosigning import WitnessKey, cosign
from broker.audit.merkle import EMPTY_ROOT, verify_consistency
from broker.audit.note import Checkpoint, VerifierKey, open_note, parse_checkpoint
from broker.entries import decode_base64
from broker.errors import VerificationFailed

Answer = tuple[int, str, str]  # status, type, text


@dataclass
class SmallWitness:
    """`log` is the one key that it trusts; `last` what it cosigned; `now_s` its clock."""

    log: VerifierKey
    name: str = "witness.example/w1"
    now_s: int = 1_770_000_000
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    last: Checkpoint | None = None
    asked: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key(self) -> WitnessKey:
        return WitnessKey(self.name, self.private.public_key().public_bytes_raw())

    def add_checkpoint(self, body: str) -> Answer:
        with self.lock:  # the look and the change are one
            self.asked += 1
            return self._add(body)

    def _add(self, body: str) -> Answer:
        head, _, note = body.partition("\n\n")
        first, *proof = head.split("\n")
        old = int(first.removeprefix("old "))
        if note.split("\n")[0] != self.log.name:
            return 404, "text/plain", "unknown log"
        try:
            text = open_note(note, [self.log])[0]
        except VerificationFailed:
            return 403, "text/plain", "not signed"
        fresh = parse_checkpoint(text)
        if old > fresh.size:
            return 400, "text/plain", "old is larger"
        last = self.last or Checkpoint(self.log.name, 0, EMPTY_ROOT)
        if old != last.size:
            return 409, "text/x.tlog.size", f"{last.size}\n"
        hashes = [decode_base64(line, 32) for line in proof]
        try:
            verify_consistency(old, last.root, fresh.size, fresh.root, hashes)
        except VerificationFailed:
            return (409 if old == fresh.size else 422), "text/plain", "not consistent"
        self.last = fresh
        return 200, "text/plain", cosign(text, self.key, self.now_s, self.private.sign)


@contextlib.contextmanager
def running(witness: SmallWitness) -> Iterator[SmallWitness]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, kind, text = witness.add_checkpoint(body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    witness.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield witness
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
