"""Fields and bases of what is sent and answered: every text is bounded, times are RFC 3339."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import marshmallow as ma
from flask import Response
from marshmallow import fields, validate
from webargs.fields import DelimitedList

from broker.db import Json
from broker.errors import Invalid
from broker.ids import is_id
from broker.paging import Page, Place

MAX_LIMIT = 100  # one less than what the domain's lists give, which says whether there is more


class Sent(ma.Schema):
    """What a client sends: an unknown field is an error."""

    class Meta:
        unknown = ma.RAISE


class Answer(ma.Schema):
    """What we answer: the named fields in this order."""


def _check_text(text: str) -> None:
    """PostgreSQL takes neither NUL nor half of a surrogate pair."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ma.ValidationError("holds a character that is no text")


def text(most: int, *, least: int = 1, required: bool = True, **more: Any) -> fields.String:
    length = validate.Length(least, most)
    return fields.String(required=required, validate=[length, _check_text], **more)


def identity(prefix: str, *, required: bool = True, **more: Any) -> fields.String:
    def check(value: str) -> None:
        if not is_id(value, prefix):
            raise ma.ValidationError(f"not an id of the form {prefix}_…")

    return fields.String(required=required, validate=check, **more)


def seconds(*, required: bool = False, **more: Any) -> fields.Integer:
    whole = validate.Range(0, 366 * 86400)
    return fields.Integer(strict=True, required=required, validate=whole, **more)


class Base64(fields.Field[bytes]):
    """Bytes as standard base64, with padding."""

    def _serialize(self, value: bytes | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else base64.b64encode(value).decode()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ma.ValidationError("not base64") from None


def sorting(instant: str) -> fields.String:
    """By the one instant of a list that never changes: the newest first, or the oldest."""
    words = [f"-{instant}", instant]
    told = {"description": f"`{words[0]}`: the newest first"}
    return fields.String(load_default=words[0], validate=validate.OneOf(words), metadata=told)


def states(names: Sequence[str], default: Sequence[str] = ()) -> DelimitedList:
    """Those in any of these states; all where none is named."""
    told = {"description": "in one of these states, with commas"}
    one = fields.String(validate=validate.OneOf(names))
    return DelimitedList(one, load_default=list(default), metadata=told)


class PageQuery(Sent):
    """Of every list that has pages: each says `sort = sorting(…)`."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_LIMIT))
    cursor = text(200, required=False, metadata={"description": "`next` of the page before"})
    since = fields.AwareDateTime(metadata={"description": "not before this, by what `sort` names"})
    until = fields.AwareDateTime(metadata={"description": "before this, by what `sort` names"})
    tenant = identity("tnt", required=False, metadata={"description": "of this tenant"})


class WaitQuery(Sent):
    wait = fields.Integer(load_default=0, validate=validate.Range(0, 10))


class TenantQuery(Sent):
    tenant = identity("tnt")


def read_page(query: Json) -> Page:
    """What a PageQuery asks for, and one more, which says whether there is more. Raises Invalid."""
    return Page(
        after=_read_cursor(query),
        oldest_first=not query["sort"].startswith("-"),
        since=query.get("since"),
        until=query.get("until"),
        limit=query["limit"] + 1,
    )


def _read_cursor(query: Json) -> Place | None:
    """Instant and id of the last item of the page before, in the order that is asked for."""
    cursor = query.get("cursor")
    if cursor is None:
        return None
    try:
        sort, instant, last = base64.urlsafe_b64decode(cursor).decode("ascii").split(" ")
        at = datetime.fromisoformat(instant)
    except ValueError:
        raise _bad_cursor() from None
    if at.tzinfo is None or "\0" in last or sort != query["sort"]:
        raise _bad_cursor()
    return at, last


def _bad_cursor() -> Invalid:
    return Invalid(
        "the cursor is not one of ours, or of another order",
        fields={"cursor": "not a cursor of this list, as it is sorted"},
    )


class Listed(Protocol):
    @property
    def id(self) -> str:
        """What tells two items of one instant apart."""


L = TypeVar("L", bound=Listed)


def page(found: Sequence[L], query: Json) -> Json:
    """`found` holds up to `limit` + 1; the last one only says that there is more."""
    items, sort = found[: query["limit"]], query["sort"]
    after = None
    if len(found) > len(items):
        instant: datetime = getattr(items[-1], sort.removeprefix("-"))
        place = f"{sort} {instant.isoformat()} {items[-1].id}"
        after = base64.urlsafe_b64encode(place.encode()).decode()
    return {"items": items, "next": after}


def whole(found: Sequence[object]) -> Json:
    """A list that is short by nature and comes on one page."""
    return {"items": found, "next": None}


def bytes_of(told: str) -> fields.Integer:
    """A bound that may be null, which is none."""
    return fields.Integer(
        required=True,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, 2**60),
        metadata={"description": f"{told}; null: no bound"},
    )


def as_file(content: bytes | Iterator[bytes], mimetype: str, name: str) -> Response:
    """Bytes as they are, or as they are made, to be kept under `name`."""
    answer = Response(content, mimetype=mimetype)
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def list_of(item: type[Answer]) -> type[Answer]:
    """The schema of a page of `item`."""
    name = item.__name__.removesuffix("Answer") + "List"
    following = fields.String(
        allow_none=True, metadata={"description": "send it as `cursor` to go on; null at the end"}
    )
    made = Answer.from_dict(
        {"items": fields.List(fields.Nested(item)), "next": following}, name=name
    )
    assert issubclass(made, Answer)  # noqa: S101  # for the type checker: from_dict subclasses its own
    return made
