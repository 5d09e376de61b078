"""The console on a world, and the browsers of its people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from flask import Flask

from broker import lifecycle
from broker.grants.decisions import list_decisions
from broker.grants.narrowing import Narrowing
from broker.grants.standing import Draft, propose
from broker.grants.statements import sign_due
from broker.snapshots import certificates
from tests import apps
from tests.web.browser import Browser, sign_in
from tests.world import World


@pytest.fixture
def app(world: World) -> Iterator[Flask]:
    with apps.lend(world.broker) as lent:
        yield lent


@pytest.fixture
def admin(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.admin)


@pytest.fixture
def engineer(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.engineer)


@pytest.fixture
def operator(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.operator)


@pytest.fixture
def waiting(world: World) -> str:
    return ask(world)


def ask(world: World) -> str:
    """A request with its plan, that waits for the admin."""
    grant_id = world.request(live_s=7200, copy_s=86400)
    world.work()
    return grant_id


@dataclass(frozen=True)
class Story:
    """A request that waits; an approved grant with a login and a copy; an ended one, certified."""

    waiting: str
    open: str
    lease: str
    copy: str
    ended: str
    gone: str
    certificate: str
    decision: str  # on the approved grant; signed
    standing: str  # in force


def make_story(world: World) -> Story:
    waiting = ask(world)
    ended, open_ = world.approved(), world.approved()
    gone, copy = world.order(ended), world.order(open_)
    lease, _ = world.lease(open_)
    world.work()
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, ended, world.broker.queue)
    world.work()
    certificates.certify(world.ports, gone)
    with world.as_(world.admin) as tx:
        issued = certificates.find_certificate(tx, gone)
        decided, *_ = list_decisions(tx, open_)
    assert issued is not None
    sign_due(world.broker.database, world.ports.keys)
    standing = give_in_advance(world, open_)
    return Story(waiting, open_, lease, copy, ended, gone, issued.id, decided.id, standing)


def give_in_advance(world: World, grant_id: str) -> str:
    """A standing approval for tickets of severity 1, on the plan of this grant."""
    with world.as_(world.admin) as tx:
        draft = Draft(
            grant_id=grant_id,
            shown_digest=world.grant(grant_id).asked_digest or "",
            narrowing=Narrowing(live_s=3600, copy_s=0),
            ends_at=tx.at + timedelta(days=30),
            severities=("1",),
        )
        return propose(tx, draft, world.broker.settings.times)
