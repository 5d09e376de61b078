"""Pages of lists: by the instant at which a thing came to be, which never changes.

Whatever changes meanwhile, no page skips a thing or shows it twice: the place where a page ended
is an instant and an id. Instants alone are not enough: what one transaction did carries one
instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

MAX_PAGE = 200
Place = tuple[datetime, str]
Rows = TypeVar("Rows", bound=sa.Select[*tuple[Any, ...]])


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is where the page before ended; `since` is meant with that instant, `until` without.

    >>> Page(limit=1000).most
    200
    """

    after: Place | None = None
    oldest_first: bool = False
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50

    @property
    def most(self) -> int:
        return min(self.limit, MAX_PAGE)


NEWEST = Page()


def paged(query: Rows, instant: Any, identity: Any, page: Page) -> Rows:
    """`instant` and `identity` are columns, in this order in an index."""
    place = sa.tuple_(instant, identity)
    if page.since is not None:
        query = query.where(instant >= page.since)
    if page.until is not None:
        query = query.where(instant < page.until)
    if page.after is not None:
        after = sa.tuple_(*page.after)
        query = query.where(place > after if page.oldest_first else place < after)
    if page.oldest_first:
        return query.order_by(instant, identity).limit(page.most)
    return query.order_by(instant.desc(), identity.desc()).limit(page.most)
