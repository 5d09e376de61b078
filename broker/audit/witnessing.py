"""Asking witnesses to cosign the root log's checkpoint (C2SP tlog-witness, the client's side).

What must stay true: a cosignature is kept only once it was verified with the key that the operator
named; a witness that is away, or says no, holds nothing up and is asked again. A refusal is logged
as an error: the log does not continue what the witness saw (422), or it saw more than there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from broker.audit import merkle
from broker.audit.cosigning import WitnessKey, cosign, verify_cosignature, write_request
from broker.audit.root_log import text_of
from broker.audit.tiling import make_proof
from broker.db import Database
from broker.errors import SettingsError, VerificationFailed
from broker.logs import get_log
from broker.trail import AuditCheckpoint, AuditLog, RootCosignature
from broker.tx import Tx, system

_log = get_log(__name__)
_ACTOR = system("witnesses")
_TIMEOUT_S = 10
_CONFLICT = 409
_MAX_ANSWER = 16 * 1024


@dataclass(frozen=True, slots=True)
class Witness:
    """`url` is its submission prefix."""

    url: str
    key: WitnessKey


def parse_witness(text: str) -> Witness:
    """Read a setting: its URL, a space, its verifier key. Raises SettingsError."""
    url, _, key = text.partition(" ")
    try:
        parsed = WitnessKey.parse(key)
    except VerificationFailed as error:
        raise SettingsError(f"log.witnesses: {error.message}") from None
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise SettingsError("log.witnesses: a witness is named by https://… and its key")
    return Witness(url.rstrip("/"), parsed)


def ask_all(database: Database, witnesses: list[Witness]) -> int:
    """Ask each that has not cosigned the last checkpoint; how many did now."""
    return sum(_ask(database, witness) for witness in witnesses)


def _ask(database: Database, witness: Witness) -> bool:
    with database.begin(_ACTOR) as tx:
        found = _find_due(tx, witness)
    if found is None:
        return False
    checkpoint, old = found
    try:
        answer = _send(database, witness, checkpoint, old)
        if answer.status_code == _CONFLICT and (theirs := _size(answer)) is not None:
            if theirs > checkpoint.size:
                _log.error("witness_saw_more", witness=witness.key.name, size=theirs)
                return False
            answer = _send(database, witness, checkpoint, theirs)
        if not answer.is_success:
            _log.error("witness_refused", witness=witness.key.name, status=answer.status_code)
            return False
        line = _verified_line(answer, checkpoint.note, witness.key)
    except (httpx.HTTPError, VerificationFailed) as error:
        _log.warning("witness_unavailable", witness=witness.key.name, error=type(error).__name__)
        return False
    with database.begin(_ACTOR) as tx:
        row = {"size": checkpoint.size, "witness": witness.key.name, "line": line, "at": tx.at}
        tx.session.execute(insert(RootCosignature).values(row).on_conflict_do_nothing())
    return True


@dataclass(frozen=True, slots=True)
class _Due:
    log_id: str
    size: int
    note: str


def find_last_root(tx: Tx) -> AuditCheckpoint | None:
    """The root log's last checkpoint: what is cosigned, and what is stamped."""
    return tx.session.scalar(
        sa.select(AuditCheckpoint)
        .join(AuditLog, AuditLog.id == AuditCheckpoint.log_id)
        .where(AuditLog.root)
        .order_by(AuditCheckpoint.size.desc())
        .limit(1)
    )


class Cosigner(Protocol):
    """The broker's own key of ML-DSA-44; see `broker.keys.ml_dsa`."""

    def public(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...


def cosign_root(database: Database, cosigner: Cosigner) -> int:
    """Cosign the root log's last checkpoint under that log's own name; whether it was not yet."""
    with database.begin(_ACTOR) as tx:
        last = find_last_root(tx)
        if last is None:
            return 0
        text = text_of(last.note).decode()
        key = WitnessKey(text.partition("\n")[0], cosigner.public())
        if tx.session.get(RootCosignature, (last.size, key.name)) is not None:
            return 0
        line = cosign(text, key, int(tx.at.timestamp()), cosigner.sign)
        verify_cosignature(last.note + line, key)  # a key that is damaged is noticed here
        row = {"size": last.size, "witness": key.name, "line": line, "at": tx.at}
        tx.session.execute(insert(RootCosignature).values(row).on_conflict_do_nothing())
        return 1


def _find_due(tx: Tx, witness: Witness) -> tuple[_Due, int] | None:
    """The root log's last checkpoint, and the size that this witness cosigned last."""
    last = find_last_root(tx)
    query = sa.select(sa.func.max(RootCosignature.size))
    old = tx.session.scalar(query.where(RootCosignature.witness == witness.key.name)) or 0
    if last is None or old >= last.size:
        return None
    return _Due(last.log_id, last.size, last.note), old


def _send(database: Database, witness: Witness, due: _Due, old: int) -> httpx.Response:
    with database.begin(_ACTOR) as tx:
        proof = make_proof(tx, due.log_id, due.size, merkle.consistency_path(old, due.size))
    body = write_request(old, proof, due.note)
    with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
        return client.post(f"{witness.url}/add-checkpoint", content=body)


def _size(answer: httpx.Response) -> int | None:
    """What a 409 says that the witness saw last; None when it says something else."""
    text = answer.text.strip()
    typed = answer.headers.get("Content-Type", "").startswith("text/x.tlog.size")
    return int(text) if typed and text.isascii() and text.isdigit() and len(text) < 17 else None


def _verified_line(answer: httpx.Response, note: str, key: WitnessKey) -> str:
    """The line by the witness's own key. Raises VerificationFailed."""
    for line in answer.content[:_MAX_ANSWER].decode(errors="replace").split("\n"):
        if line.startswith(f"— {key.name} "):
            verify_cosignature(f"{note}{line}\n", key)
            return f"{line}\n"
    raise VerificationFailed(f"{key.name} answered no cosignature")


def cosigned(tx: Tx, size: int, note: str) -> str:
    """The root log's note of that size with the cosignatures that it has."""
    query = sa.select(RootCosignature.line).where(RootCosignature.size == size)
    return note + "".join(tx.session.scalars(query.order_by(RootCosignature.witness)))
