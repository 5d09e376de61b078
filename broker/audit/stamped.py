"""A third party's timestamps in a bundle, against the roots that its reader brought. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from broker.audit.findings import Finding
from broker.audit.timestamps import Stamped, verify_stamp
from broker.errors import VerificationFailed

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Entries are integrated in the order of their commits and carry the instant at which their
# transaction opened. Transactions overlap, so instants may step back, by no more than this.
OVERLAP = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class Stamps:
    """`roots` are the authority's; where there are none, a timestamp counts for nothing."""

    roots: Sequence[Certificate] = ()

    def check(
        self, what: str, response: bytes, message: bytes, *, since: datetime | None
    ) -> Finding:
        """That `what` existed at the authority's time; `since` is the youngest instant that stands
        in it, which can't be later.
        """
        if not self.roots:
            text = f"{what} has a timestamp, not looked at: give the authority's root (option tsa)."
            return Finding(ok=True, text=text)
        try:
            stamped = verify_stamp(response, message, self.roots)
            _check_since(stamped, since)
        except VerificationFailed as error:
            return Finding(ok=False, text=f"The timestamp of {what} does not hold: {error}.")
        text = f"{what} existed on {stamped.at:%Y-%m-%d %H:%M:%S} UTC, says {stamped.by}."
        return Finding(ok=True, text=text)


def _check_since(stamped: Stamped, since: datetime | None) -> None:
    if since is not None and since > stamped.at + OVERLAP:
        raise VerificationFailed(
            f"something in it is dated {since:%Y-%m-%d %H:%M:%S} UTC, after it was stamped"
        )
