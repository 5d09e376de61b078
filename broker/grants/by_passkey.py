"""A decision that a person's passkey signed: the challenge was the digest of just this decision.

The digest is said twice from the rows: when it is offered (`challenges`) and when it is answered.
What changed in between, a tick, a window, the plan, gives another digest, and the answer is
refused.
"""

from __future__ import annotations

from broker import passkeys
from broker.assertions import check_assertion
from broker.errors import Conflict, VerificationFailed
from broker.grants import statements
from broker.grants.model import Decision, Grant
from broker.passkeys import Answered
from broker.tx import Tx


def challenge_for(tx: Tx, grant: Grant, decision: Decision) -> bytes:
    return statements.challenge_for(
        tx, grant, statements.state_decision(decision, grant, decision.at)
    )


def prove(tx: Tx, grant: Grant, decision: Decision, answered: Answered) -> None:
    """Put onto `decision` what its person's passkey signed, and the id that was signed with it.

    Raises PasskeyRefused, PasskeyCloned; Conflict when it was another decision that was signed.
    """
    if answered.decision_id is None:
        raise Conflict("this answer of a passkey is for no decision")
    decision.id, decision.via = answered.decision_id, "passkey"
    if challenge_for(tx, grant, decision) != answered.challenge:
        raise Conflict("what your passkey signed is not what this form says; decide again")
    _, assertion = passkeys.verify(tx, answered, decision.person_id)
    try:  # as whoever holds the statement will check it, so that what is kept always verifies
        check_assertion(assertion, answered.challenge)
    except VerificationFailed as error:
        raise Conflict(f"{error.message}; decide again") from None
    decision.assertion = assertion.document()
