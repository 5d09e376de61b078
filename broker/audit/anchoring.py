"""Asking a timestamping authority (RFC 3161) about the root log's checkpoints: the client's side.

What must stay true: a token is kept only once it was verified under the root that the operator
named, and answers our own request; an authority that is away, or answers badly, holds nothing up,
is logged, and is asked again by the next run. It is sent a digest and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from broker.audit.root_log import text_of
from broker.audit.timestamps import Stamped, accept, load_roots, make_request
from broker.audit.witnessing import find_last_root
from broker.db import Database
from broker.errors import Invalid, SettingsError, Unavailable, VerificationFailed
from broker.logs import get_log
from broker.trail import TrustedTime
from broker.tx import Tx, system

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_log = get_log(__name__)
ACTOR = system("timestamps")
_TIMEOUT_S = 10
_MAX_ANSWER = 64 * 1024
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


@dataclass(frozen=True, slots=True)
class Tsa:
    """An authority: its URL, and the roots under which it is believed."""

    url: str
    roots: Sequence[Certificate]


def build_tsa(url: str | None, root: Path | None) -> Tsa | None:
    """None where none is set. Raises SettingsError."""
    if url is None and root is None:
        return None
    if url is None or root is None:
        raise SettingsError("log.tsa_url and log.tsa_root are set together, or neither is")
    if not url.startswith(("https://", "http://")):
        raise SettingsError("log.tsa_url is the URL of a timestamping authority: https://…")
    try:
        return Tsa(url, load_roots(root.read_bytes()))
    except (OSError, Invalid):
        raise SettingsError(f"log.tsa_root: {root} is no file of certificates (PEM)") from None


def ask(tsa: Tsa, message: bytes) -> tuple[bytes, Stamped]:
    """The authority's answer about these bytes, verified. Raises Unavailable, VerificationFailed.

    The token is signed and the digest no secret, so plain HTTP, which many have, will do.
    """
    request = make_request(message)
    try:
        with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            answer = client.post(
                tsa.url, content=request.as_bytes(), headers={"Content-Type": _QUERY}
            )
    except httpx.HTTPError as error:
        raise Unavailable(f"the authority can't be reached: {type(error).__name__}") from None
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if not answer.is_success or kind != _REPLY or len(answer.content) > _MAX_ANSWER:
        raise Unavailable(f"the authority answered {answer.status_code} and no timestamp")
    return answer.content, accept(answer.content, request, message, tsa.roots)


def try_ask(tsa: Tsa, subject: str, message: bytes) -> tuple[bytes, Stamped] | None:
    """As `ask`; None, and a line in the process's log, when there is no good answer now."""
    try:
        return ask(tsa, message)
    except Unavailable as error:
        _log.warning("timestamp_not_given", subject=subject, reason=error.message)
    except VerificationFailed as error:
        _log.error("timestamp_refused", subject=subject, reason=error.message)
    return None


def keep(tx: Tx, subject: str, tenant_id: str | None, told: tuple[bytes, Stamped]) -> bool:
    """Whether it was kept: another worker may have been first."""
    response, stamped = told
    made = insert(TrustedTime).values(
        subject=subject, tenant_id=tenant_id, response=response, said_at=stamped.at, at=tx.at
    )
    kept = made.on_conflict_do_nothing().returning(TrustedTime.subject)
    return tx.session.scalar(kept) is not None


def find_stamp(tx: Tx, subject: str) -> TrustedTime | None:
    return tx.session.get(TrustedTime, subject)


def root_subject(size: int) -> str:
    return f"root/{size}"


def stamp_root(database: Database, tsa: Tsa, every_s: int) -> bool:
    """Have the root log's last checkpoint stamped, when the last stamp is `every_s` old."""
    with database.begin(ACTOR) as tx:
        due = _find_due(tx, timedelta(seconds=every_s))
    if due is None:
        return False
    size, note = due
    told = try_ask(tsa, root_subject(size), text_of(note))
    if told is None:
        return False
    with database.begin(ACTOR) as tx:
        return keep(tx, root_subject(size), None, told)


def _find_due(tx: Tx, every: timedelta) -> tuple[int, str] | None:
    """Size and note of the last checkpoint, unless one is stamped that is young enough."""
    last = find_last_root(tx)
    if last is None or find_stamp(tx, root_subject(last.size)) is not None:
        return None
    roots = sa.select(sa.func.max(TrustedTime.at)).where(TrustedTime.tenant_id.is_(None))
    stamped_at = tx.session.scalar(roots)
    if stamped_at is not None and tx.at < stamped_at + every:
        return None
    return last.size, last.note


def find_stamped_root(tx: Tx) -> int | None:
    """The size of the root log's youngest checkpoint that was stamped."""
    query = sa.select(TrustedTime.subject).where(TrustedTime.tenant_id.is_(None))
    subject = tx.session.scalar(query.order_by(TrustedTime.at.desc()).limit(1))
    return None if subject is None else int(subject.removeprefix("root/"))
