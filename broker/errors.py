"""Errors that say what happened. Each names what a person can do next and carries no secret.

The class gives the family (an HTTP status and a CLI exit code, see FAMILIES in `api` and `cli`);
`type` is the stable name that clients match on.
"""

from __future__ import annotations

from typing import Any, ClassVar

# The same words for "there is none" and for "not for you": a difference would tell (G12).
NOT_THERE = "there is no such thing, or you may not see it"


class BrokerError(Exception):
    """Root of all errors that are meant for a person; anything else is a defect.

    `facts` are JSON values for machines (ids, instants): never secrets, never row values.
    """

    type: ClassVar[str] = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class Invalid(BrokerError):
    """What was sent cannot be meant: 422, exit 2. `facts['fields']` may name each field."""

    type = "invalid"


class NotAuthenticated(BrokerError):
    """Nobody is signed in, or the token is not valid: 401, exit 3."""

    type = "not-authenticated"


class CodeNeeded(NotAuthenticated):
    """The password was right; a code of the authenticator is needed beside it."""

    type = "code-needed"


class Denied(BrokerError):
    """This person may not do this: 403, exit 4."""

    type = "denied"


class NotFound(BrokerError):
    """No such thing, or not for this person; the two look the same (G12): 404, exit 5."""

    type = "not-found"


class Conflict(BrokerError):
    """Somebody else was first, or the state does not allow it: 409, exit 6."""

    type = "conflict"


class TooMany(BrokerError):
    """Too many attempts; `facts['retry_after_s']` says when to come back: 429, exit 8."""

    type = "too-many"


class Unavailable(BrokerError):
    """Another server did not answer as it should; nothing was decided: 503, exit 8."""

    type = "unavailable"


class VerificationFailed(BrokerError):
    """A signature, proof, digest or label does not hold: exit 9."""

    type = "verification-failed"


class SettingsError(BrokerError):
    """A setting is unknown, missing or bad; the process does not start."""

    type = "settings"
