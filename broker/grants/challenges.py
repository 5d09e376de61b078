"""What a person's passkey is asked to sign before a decision: checked as the decision itself is."""

from __future__ import annotations

from broker import passkeys
from broker.db import Json
from broker.grants import approvals, by_passkey, deciding
from broker.grants.approvals import Said
from broker.grants.model import Grant
from broker.grants.narrowing import Narrowing
from broker.passkeys import Party
from broker.tx import Tx


def ask_approval(
    tx: Tx, grant_id: str, shown_digest: str, narrowing: Narrowing, by: tuple[Party, str]
) -> Json:
    """Options for the browser. `by` is whom the passkey is for, and the session's id.

    Raises what `deciding.approve` would, so that nobody signs what can't be decided.
    """
    return _ask(tx, *deciding.draft_approval(tx, grant_id, shown_digest, narrowing), by)


def ask_refusal(tx: Tx, grant_id: str, by: tuple[Party, str]) -> Json:
    return _ask(tx, *deciding.draft_refusal(tx, grant_id), by)


def _ask(tx: Tx, grant: Grant, said: Said, by: tuple[Party, str]) -> Json:
    decision = approvals.draft(tx, grant, said)
    challenge = by_passkey.challenge_for(tx, grant, decision)
    return passkeys.ask_decision(tx, *by, challenge, decision.id)
