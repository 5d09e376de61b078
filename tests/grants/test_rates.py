"""How many logins may be asked for in a while: a clear answer with when to come back."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from broker.engines.postgres.scram import make_verifier, new_password
from broker.grants import leases
from broker.grants.rates import TooManyLogins
from broker.http import create_app
from broker.settings import Rates
from broker.tx import system
from tests.api.conftest import Api
from tests.world import World, clone_crm, connect, enrol, register_database

VERIFIER = make_verifier(new_password())


def ask(world: World, grant_id: str, limits: Rates) -> str:
    with world.as_(world.engineer) as tx:
        return leases.ask_live(tx, grant_id, VERIFIER, world.broker.queue, limits)


def test_a_server_counts_what_is_asked_on_each_of_its_databases(world: World) -> None:
    """Two customers' databases on one server: it makes the roles of both."""
    limits = Rates(person=0, tenant=0, server=1)
    ask(world, world.approved(copy_s=0), limits)
    crm = clone_crm(world.live)
    try:
        tenant_id, admin = enrol(world, "Another on the same server")
        database_id = register_database(world, world.ports.keys, tenant_id, crm)
        other = dataclasses.replace(world, tenant=tenant_id, admin=admin, database_id=database_id)
        with pytest.raises(TooManyLogins) as refused:
            ask(other, other.approved(copy_s=0), limits)
    finally:
        with connect(world.live) as connection:
            connection.execute(f"DROP DATABASE {crm} WITH (FORCE)")
    assert refused.value.facts["of"] == "server"


def test_one_more_than_the_limit_is_told_when_to_come_back(world: World) -> None:
    grant_id = world.approved(copy_s=0)
    for name in ("person", "tenant", "server"):
        limits = Rates(**{"person": 0, "tenant": 0, "server": 0, name: 1})
        if name == "person":
            first = ask(world, grant_id, limits)
        with pytest.raises(TooManyLogins) as refused:
            ask(world, grant_id, limits)
        assert refused.value.facts["of"] == name
        assert 0 < refused.value.facts["retry_after_s"] <= 600
    ask(world, grant_id, Rates(person=0, tenant=0, server=0))
    with world.as_(system("tests")) as tx:  # ten minutes later
        for lease in tx.session.query(leases.Lease):
            lease.asked_at -= timedelta(minutes=10)
    ask(world, grant_id, Rates(person=1, tenant=1, server=1))
    settings = world.broker.settings.model_copy(update={"rates": Rates(person=1)})
    api = Api(world, create_app(dataclasses.replace(world.broker, settings=settings)), "")
    answer = api.post(world.engineer, "/leases", {"grant": grant_id, "verifier": VERIFIER})
    assert answer.status_code == 429
    assert answer.json["type"].endswith("too-many-logins")
    assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert "come back in" in answer.json["detail"]
    assert first
