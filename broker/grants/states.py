"""The state machines of grants, standing approvals, reviews and leases.

    grant     requested ─▶ approved ─▶ ended            requested ─▶ refused | ended
    standing  proposed ─▶ given ─▶ ended                proposed ─▶ ended
    review    open ─▶ closed
    lease     pending ─▶ issued ─▶ revoking ─▶ revoked  pending ─▶ revoking

A refused or ended grant never comes back. A lease once revoking ends revoked, however long that
takes.
"""

from __future__ import annotations

from broker.states import Move

APPROVE = Move(("requested",), "approved", "grant.approved")
REFUSE = Move(("requested",), "refused", "grant.refused")
END = Move(("requested", "approved"), "ended", "grant.ended")

STANDING_GIVEN = Move(("proposed",), "given", "standing.given")
STANDING_ENDED = Move(("proposed", "given"), "ended", "standing.ended")

REVIEW_CLOSED = Move(("open",), "closed", "review.closed")

LEASE_ISSUED = Move(("pending",), "issued", "lease.issued")
LEASE_REVOKING = Move(("pending", "issued"), "revoking", "lease.revoking")
LEASE_REVOKED = Move(("revoking",), "revoked", "lease.revoked")
LEASE_EXPIRED = Move(("revoking",), "revoked", "lease.expired")  # of a token: see `tokens`
LEASE_OPEN = ("pending", "issued", "revoking")
