"""The life of a grant as a picture: asked, approved, used, ended, each a bar on one scale. Pure.

What must stay true: the picture says nothing that its table does not say in words, so who does not
see it misses nothing. Bars are whole numbers of thousandths of the way from first to last instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from broker.grants.queries import GrantView, LeaseView
from broker.snapshots.queries import SnapshotView

WIDTH = 1000
_LEAST = 6  # what lasted a moment is seen too


@dataclass(frozen=True, slots=True)
class Span:
    """`until` is None while nobody can say; `over` is false of what ends at `until` if not before.

    `what` is one of `asked`, `given`, `login`, `token`, `session`, `copy`.
    """

    what: str
    who: str
    since: datetime
    until: datetime | None
    over: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """From `x`, `done` wide until now, then `ahead` wide; each in thousandths."""

    span: Span
    x: int
    done: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """`now` is where on the scale this instant stands, None when all of it is past."""

    bars: tuple[Bar, ...]
    now: int | None


def draw(
    grant: GrantView, leases: Sequence[LeaseView], copies: Sequence[SnapshotView], now: datetime
) -> Timeline:
    spans = sorted(_spans(grant, leases, copies), key=lambda span: span.since)
    first = spans[0].since
    last = max(span.until or now for span in spans)
    whole = max((last - first).total_seconds(), 0.001)

    def place(at: datetime) -> int:
        return round(WIDTH * (min(max(at, first), last) - first).total_seconds() / whole)

    return Timeline(
        tuple(
            _bar(span, place(span.since), place(now), place(span.until or now)) for span in spans
        ),
        place(now) if any(not span.over for span in spans) else None,
    )


def _bar(span: Span, x: int, now: int, end: int) -> Bar:
    x = min(x, WIDTH - _LEAST)
    done = max((end if span.over else min(now, end)) - x, 0)
    ahead = 0 if span.over else max(end - max(now, x), 0)
    return Bar(span, x, done if done + ahead >= _LEAST else _LEAST - ahead, ahead)


def _spans(
    grant: GrantView, leases: Sequence[LeaseView], copies: Sequence[SnapshotView]
) -> Iterator[Span]:
    waits = grant.state == "requested"
    closed = grant.decided_at or grant.state_at
    yield Span(
        "asked",
        grant.requester,
        grant.requested_at,
        grant.lapses_at if waits else closed,
        over=not waits,
    )
    if grant.given_digest and grant.decided_at:
        over = grant.state == "ended"
        until = grant.state_at if over else grant.ends_at
        yield Span("given", grant.decided_by or "", grant.decided_at, until, over=over)
    for lease in leases:
        over = lease.state == "revoked"
        until = (lease.role_gone_at or lease.state_at) if over else lease.ends_at
        kind = {"platform": "token", "storage": "session"}.get(lease.kind, "login")
        yield Span(kind, lease.person, lease.asked_at, until, over=over)
    for copy in copies:
        over = copy.state == "destroyed"
        until = copy.destroyed_at if over else copy.held_until or copy.ends_at
        yield Span("copy", copy.requester, copy.ordered_at, until, over=over)
