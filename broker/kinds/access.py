"""Kinds of entry about tickets, grants and logins."""

from __future__ import annotations

from collections.abc import Mapping

from broker.kinds.forms import (
    COUNTS,
    DELEGATION,
    ENDS,
    GIVEN,
    LOGINS,
    POLICY,
    STOOD_IN,
    TERMS,
    WHY,
    Kind,
)

ACCESS: Mapping[str, Kind] = {
    # Tickets.
    "ticket.mirrored": Kind(
        "A ticket was seen for the first time.",
        "ticket",
        {"system": "word", "closed": "yes or no"},
        ("title",),
    ),
    "ticket.missed": Kind("A ticket was not found; a second look will decide.", "ticket"),
    "ticket.ended": Kind("A ticket counts as closed, and what rests on it ends.", "ticket", WHY),
    # Grants and plans.
    "grant.requested": Kind(
        "An engineer asked for access.",
        "grant",
        {
            "ticket": "id",
            "database": "id",
            "category": "word",
            "live_s": "number",
            "copy_s": "number",
            "lapses_at": "instant",
            "policy": "number",
            "approvals": "number",
            "extends": "id",
            "starts_at": "instant",
            "platform": "id",
            "platform_s": "number",
            "kind": "word",
            "storage": "id",
            "storage_s": "number",
            "break_glass": "yes or no",
            "develop": "yes or no",
            "on_ticket": "yes or no",
            "dedicated": "yes or no",
        },
        ("reason",),
    ),
    "plan.made": Kind(
        "The plan of what would be seen was made.", "grant", {"digest": "digest", **COUNTS}
    ),
    "plan.read": Kind("Somebody read a plan.", "grant", {"digest": "digest"}),
    "approval.given": Kind(
        "An admin approved what was shown, or less, or a lead of the vendor did for break-glass; "
        "others must too.",
        "grant",
        {**GIVEN, **STOOD_IN, "missing": "number"},
    ),
    "grant.approved": Kind(
        "The last admin needed approved; this is what all of them give. With `standing` they "
        "did so in advance, by the terms with that digest. With `break_glass` two leads of the "
        "vendor did, as the policy of that version allows.",
        "grant",
        {
            **GIVEN,
            **STOOD_IN,
            "approvals": "number",
            "policy": "number",
            "standing": "id",
            "terms": "digest",
            "break_glass": "yes or no",
        },
        ("severity", "category"),
    ),
    "grant.refused": Kind("An admin refused a request.", "grant", STOOD_IN, ("note",)),
    "grant.ended": Kind("A grant or request is over.", "grant", WHY),
    "grant.altered": Kind(
        "A grant's rows are not what was signed; nothing more is made under it.",
        "grant",
        {"fields": "words"},
    ),
    "grant.escalated": Kind(
        "A request waited without enough answers: these people were told, and may decide it.",
        "grant",
        {"after_s": "number", "told": "words"},
    ),
    "grant.pause_asked": Kind(
        "All logins under the grant must let nobody in; its ends stay.", "grant", LOGINS
    ),
    "grant.resume_asked": Kind("The pause of the grant was lifted.", "grant", LOGINS),
    "decision.signed": Kind(
        "The statement of a person's decision was signed.",
        "decision",
        {"grant": "id", "digest": "digest"},
    ),
    # Standing approvals: given in advance.
    "standing.proposed": Kind(
        "An admin proposed to approve in advance what fits; as many must agree as the policy asks.",
        "standing approval",
        {**TERMS, "grant": "id", "approvals": "number", "policy": "number"},
        ("severities", "categories", "note"),
    ),
    "standing.agreed": Kind(
        "An admin agreed to a standing approval; others must too.",
        "standing approval",
        {"digest": "digest", "missing": "number"},
    ),
    "standing.given": Kind(
        "The last admin needed agreed: from now on, requests that fit are approved under it.",
        "standing approval",
        {**TERMS, "approvals": "number"},
    ),
    "standing.ended": Kind(
        "A standing approval is over; what it gave ends too, unless `kept`.",
        "standing approval",
        {**WHY, "kept": "yes or no"},
    ),
    # Break-glass: the vendor let itself in, and owes a review.
    "review.owed": Kind(
        "The vendor breaks the glass, and owes the customer a review of it.",
        "review",
        {"grant": "id", "due_at": "instant"},
    ),
    "review.closed": Kind(
        "An admin of the customer closed the review.", "review", {"grant": "id"}, ("note",)
    ),
    # How a tenant approves.
    "delegate.named": Kind(
        "An admin named who decides in their place, for a time.", "delegation", DELEGATION
    ),
    "delegate.ended": Kind("A delegation was taken back.", "delegation", DELEGATION),
    "policy.proposed": Kind(
        "An admin proposed another approval policy; a second must confirm.", "tenant", POLICY
    ),
    "policy.changed": Kind("Another approval policy is in force.", "tenant", POLICY),
    # Leases: credentials.
    "lease.asked": Kind(
        "An engineer asked for a login, a token, or a session on a storage, under a grant.",
        "lease",
        {"grant": "id", "role": "id", "scope": "id", "on": "id", "kind": "word", **ENDS},
    ),
    "lease.entered": Kind(
        "Somebody was first seen in the login; what its role can do was looked at again.",
        "lease",
        {"grant": "id", "first_seen_at": "instant"},
    ),
    "lease.outlived": Kind(
        "A session of a login that had ended was found alive, without rights, and was ended.",
        "lease",
        {"grant": "id", "sessions": "number"},
    ),
    "lease.issued": Kind(
        "The login was made on the server, or the token was signed with this key.",
        "lease",
        {"key": "id"},
    ),
    "lease.pause_asked": Kind("The login must let nobody in for a while; its end stays.", "lease"),
    "lease.paused": Kind(
        "A fresh look found no session of the login, and that it lets nobody in.",
        "lease",
        {
            "login_refused_at": "instant",
            "last_session_dead_at": "instant",
            "found_absent": "yes or no",
        },
    ),
    "lease.resume_asked": Kind("The pause of the login was lifted.", "lease"),
    "lease.resumed": Kind("The login lets its person in again, until its end.", "lease"),
    "lease.revoking": Kind("The login or token must end.", "lease", WHY),
    "lease.revoked": Kind(
        "A fresh look found neither the login nor a session of it.",
        "lease",
        {
            "login_refused_at": "instant",
            "last_session_dead_at": "instant",
            "role_gone_at": "instant",
            "found_absent": "yes or no",
        },
    ),
    "lease.expired": Kind(
        "Whoever asked was told since `refused_at` that the token is void, and its own end is past "
        "by more than clocks may differ; or it never left the broker.",
        "lease",
        {"refused_at": "instant", "expired_at": "instant", "left": "yes or no"},
    ),
    "lease.end_signed": Kind(
        "The statement of a login's end was signed.",
        "lease",
        {"grant": "id", "digest": "digest"},
    ),
    "glass.read": Kind(
        "Somebody looked at the open logins, their sessions and, if so said, their statements.",
        "tenant",
        {"logins": "number", "statements": "yes or no"},
    ),
    "scope.dropped": Kind("The views of a scope were dropped.", "database", {"scope": "id"}),
}
