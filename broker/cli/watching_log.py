"""Seeing that a log only grows, from a few hashes: what was seen last is kept outside the broker.

What must stay true: the remembered checkpoint moves only to one that a pinned key signed and that
is proved to continue it. A log that is shorter than it was, or that no proof joins to what was
seen, is a fork: it is refused, and what was seen stays remembered, as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from broker.audit.merkle import verify_consistency
from broker.audit.note import Checkpoint, VerifierKey, open_note, parse_checkpoint
from broker.cli.api import Api
from broker.cli.trust import find_seen, remember_seen
from broker.entries import decode_base64
from broker.errors import NotFound, Unavailable, VerificationFailed


def see_growth(api: Api, tenant: str, home: Path, trusted: Sequence[VerifierKey]) -> str:
    """Compare with what was seen, remember what is there now, and say so in a sentence.

    Raises VerificationFailed when the log does not continue it, or no pinned key signed it.
    """
    origin = api.get("tenants", tenant).get("log_origin")
    if not isinstance(origin, str):
        raise Unavailable("the broker did not name this tenant's log")
    keys = [key for key in trusted if key.name == origin]
    if not keys:
        raise VerificationFailed(
            f"no key of {origin} is pinned", **{"try": f"broker tenants pin {tenant}"}
        )
    note = api.get_bytes("tenants", tenant, "log", "checkpoint").decode(errors="replace")
    new, seen = _open(note, origin, keys), find_seen(home, origin)
    if seen is None:
        remember_seen(home, origin, note)
        return f"{new.size} entries are signed; remembered, and compared from now on."
    old = _open(seen, origin, keys)
    if new.size < old.size:
        raise VerificationFailed(
            f"the log has {new.size} signed entries, and you saw {old.size}: it was cut, or this "
            "is a fork; keep the checkpoint that you have, it is evidence"
        )
    _check_continues(api, tenant, old, new)
    remember_seen(home, origin, note)
    return f"{new.size} entries are signed, and continue the {old.size} that you saw."


def _open(note: str, origin: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    checkpoint = parse_checkpoint(open_note(note, keys)[0])
    if checkpoint.origin != origin:
        raise VerificationFailed(f"this checkpoint is of another log, {checkpoint.origin}")
    return checkpoint


def _check_continues(api: Api, tenant: str, old: Checkpoint, new: Checkpoint) -> None:
    try:
        answer = api.get("tenants", tenant, "log", "consistency", old=old.size, size=new.size)
    except NotFound:
        raise VerificationFailed("the broker gives no proof that the log continues") from None
    hashes = answer.get("hashes")
    if not isinstance(hashes, list):
        raise VerificationFailed("the broker answered something that is no proof")
    proof = [decode_base64(str(item), 32) for item in hashes]
    try:
        verify_consistency(old.size, old.root, new.size, new.root, proof)
    except VerificationFailed as error:
        raise VerificationFailed(
            f"the log does not continue the {old.size} entries that you saw ({error.message}): it "
            "was rewritten, or this is a fork; keep the checkpoint that you have, it is evidence"
        ) from None
