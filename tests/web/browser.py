"""A browser without JavaScript: Flask's test client that reads pages and sends their forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from broker import signin
from broker.people import Person
from broker.secret import Secret
from broker.tx import Actor
from tests.world import World

HOST = "https://localhost"
PASSWORD = "correct horse battery staple"


@dataclass
class Form:
    """`fields` are as they would be sent untouched: hidden ones, texts, ticks, chosen options."""

    method: str
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def names(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.ticks: list[tuple[str, str]] = []  # every checkbox that is offered
        self._in_form = False
        self._select: str | None = None
        self._area: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = dict(attrs)
        name, value = at.get("name") or "", at.get("value") or ""
        if tag == "form":
            self.forms.append(Form((at.get("method") or "get").lower(), at.get("action") or ""))
            self._in_form = True
        elif tag == "input" and at.get("type") in {"checkbox", "radio"}:
            self.ticks.append((name, value))
            if "checked" in at:
                self._put(name, value)
        elif tag == "input":
            self._put(name, value)
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in at and self._select:
            self._put(self._select, value)
        elif tag == "textarea":
            self._area = name
            self._put(name, "")

    def handle_data(self, data: str) -> None:
        if self._area is not None and self.forms:
            self.forms[-1].fields[-1] = (self._area, data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None

    def _put(self, name: str, value: str) -> None:
        if self._in_form:
            self.forms[-1].fields.append((name, value))


def read_forms(page: str) -> _Forms:
    reader = _Forms()
    reader.feed(page)
    return reader


class Browser:
    """Keeps cookies, sends the Referer, follows no redirect unless told."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()

    def get(self, path: str, *, follow: bool = False) -> TestResponse:
        return self.client.get(path, base_url=HOST, follow_redirects=follow)

    def page(self, path: str) -> str:
        """The page at `path`, which must be there."""
        answer = self.get(path, follow=True)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    def form(self, path: str, action: str) -> Form:
        """The form on the page at `path` that is sent to `action`."""
        forms = read_forms(self.page(path)).forms
        sent_to = [urlsplit(urljoin(HOST + path, form.action)).path for form in forms]
        assert action in sent_to, (action, sent_to)
        return forms[sent_to.index(action)]

    def submit(self, path: str, action: str, **fields: str | list[str]) -> TestResponse:
        """Fill in the form that `path` shows for `action`, and send it."""
        form = self.form(path, action)
        sent = [(name, value) for name, value in form.fields if name not in fields]
        for name, value in fields.items():
            sent += [(name, item) for item in ([value] if isinstance(value, str) else value)]
        return self.post(action, sent, referer=path)

    def post(self, path: str, fields: list[tuple[str, str]], *, referer: str = "/") -> TestResponse:
        data: dict[str, list[str]] = {}
        for name, value in fields:
            data.setdefault(name, []).append(value)
        return self.client.post(path, base_url=HOST, data=data, headers={"Referer": HOST + referer})

    def token(self) -> str:
        """A form token of this session, for posts that no page offers to this person."""
        path = "/sign-in"
        return self.form(path, path).names("csrf_token")[0]

    def act(self, path: str, **fields: str) -> TestResponse:
        """Post to `path` with a good form token, whether or not a page offers it."""
        return self.post(path, [("csrf_token", self.token()), *fields.items()])


def give_password(world: World, actor: Actor) -> str:
    """Set the tests' password and return the person's address."""
    assert actor.person_id is not None
    with world.as_(actor) as tx:
        signin.set_password(tx, actor.person_id, Secret(PASSWORD))
        return tx.session.get_one(Person, actor.person_id).email


def sign_in(app: Flask, world: World, actor: Actor) -> Browser:
    browser = Browser(app)
    email = give_password(world, actor)
    answer = browser.submit("/sign-in", "/sign-in", email=email, password=PASSWORD)
    assert answer.status_code == 303, answer.text
    return browser
