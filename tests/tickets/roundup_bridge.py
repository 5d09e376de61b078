"""A bridge between the broker's contract (`docs/ticket-system.openapi.json`) and Roundup's REST
API, of the kind that a system's owner writes: a small web application that stands beside it.

An issue of Roundup's classic template is a ticket. Its customer is the one keyword `customer::…`.
It is closed when it is resolved or done, or superseded by another (merged), and gone when retired.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any

import httpx
from flask import Flask, jsonify, request
from werkzeug.exceptions import BadGateway, NotFound, Unauthorized

CLOSED = frozenset({"resolved", "done-cbb"})
CUSTOMER = "customer::"


class Roundup:
    """Roundup's REST API, as its administrator; it wants these headers of who is no browser."""

    def __init__(self, url: str, password: str) -> None:
        login = base64.b64encode(f"admin:{password}".encode()).decode()
        headers = {"X-Requested-With": "rest", "Origin": url, "Authorization": f"Basic {login}"}
        self._client = httpx.Client(base_url=f"{url}/rest/data", headers=headers, trust_env=False)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self._read(self._client.get(path, params=query))

    def create(self, kind: str, **values: Any) -> str:
        return str(self._read(self._client.post(kind, json=values))["id"])

    def change(self, path: str, **values: Any) -> None:
        mark = self.get(path)["@etag"]
        self._read(self._client.patch(path, json={**values, "@etag": mark}))

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFound
        if not answer.is_success:  # whatever is wrong here: the broker must not take it for closed
            raise BadGateway
        return dict(answer.json()["data"])


def make_bridge(roundup: Roundup, token: str) -> Flask:
    app = Flask("bridge")

    @app.before_request
    def check() -> None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise Unauthorized

    @app.get("/tickets/<int:number>")
    def show(number: int) -> Any:
        return jsonify(_ticket(roundup, number))

    @app.get("/tickets")
    def show_several() -> Any:
        found = []
        for name in request.args["ids"].split(","):
            try:
                found.append(_ticket(roundup, int(name)))
            except (NotFound, ValueError):
                continue
        return jsonify(tickets=found)

    @app.post("/tickets/<int:number>/comments")
    def comment(number: int) -> Any:
        said = request.get_json()
        _ticket(roundup, number)
        if not roundup.get("msg", messageid=said["key"])["collection"]:
            said = {"content": said["text"], "messageid": said["key"], "author": "admin"}
            message = roundup.create("msg", **said)
            roundup.change(f"issue/{number}", **{"@op": "add", "messages": [message]})
        return "", 201

    return app


def _ticket(roundup: Roundup, number: int) -> dict[str, Any]:
    if number not in [int(one["id"]) for one in roundup.get("issue")["collection"]]:
        raise NotFound  # a retired one is still shown by its own address
    issue = roundup.get(f"issue/{number}", **{"@verbose": "2"})["attributes"]
    named = [one["name"] for one in issue["keyword"] if one["name"].startswith(CUSTOMER)]
    status, priority = (issue[name] or {} for name in ("status", "priority"))
    return {
        "id": str(number),
        "title": issue["title"] or "",
        "customer": named[0].removeprefix(CUSTOMER) if len(named) == 1 else "",
        "closed": status.get("name") in CLOSED or bool(issue["superseder"]),
        "severity": priority.get("name"),
    }
