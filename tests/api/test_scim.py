"""SCIM 2.0: a directory makes, changes and takes out people of its tenant, and of no other."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from werkzeug.test import TestResponse

from broker import people
from broker.api.scim import filters
from broker.api.scim.resources import PATCH, USER, ScimError
from broker.ids import PersonId
from broker.tx import Actor, system
from tests.api.conftest import Api
from tests.world import World, add_person, enrol


@dataclass
class Directory:
    """A directory as it calls us."""

    api: Api
    token: str

    def send(self, method: str, path: str, body: object = None) -> TestResponse:
        return self.api.app.test_client(use_cookies=False).open(
            f"/scim/v2{path}",
            method=method,
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def create(self, name: str, **more: object) -> TestResponse:
        user = {"schemas": [USER], "userName": f"{name}@t.test", "displayName": name.title()}
        return self.send("POST", "/Users", {**user, **more})

    def patch(self, identity: str, *operations: dict[str, object]) -> TestResponse:
        body = {"schemas": [PATCH], "Operations": list(operations)}
        return self.send("PATCH", f"/Users/{identity}", body)


def register(api: Api, admin: Actor, tenant: str) -> Directory:
    body = {"tenant": tenant, "name": "Our directory"}
    made = api.post(admin, "/directories", body)
    assert made.status_code == 201, made.text
    return Directory(api, made.json["token"])


@pytest.fixture
def directory(api: Api, world: World) -> Directory:
    return register(api, world.admin, world.tenant)


def off(identity: str, directory: Directory, *, active: bool) -> TestResponse:
    return directory.patch(identity, {"op": "Replace", "path": "active", "value": active})


def test_a_person_is_made_found_changed_taken_out_at_once_and_taken_in_again(
    directory: Directory, api: Api, world: World
) -> None:
    made = directory.create("grace", externalId="42", roles=[{"value": "admin"}])
    assert made.status_code == 201, made.text
    assert made.headers["Location"].endswith(f"/scim/v2/Users/{made.json['id']}")
    assert directory.create("grace").json["scimType"] == "uniqueness"
    identity = made.json["id"]
    for text in ('userName eq "GRACE@t.test"', 'externalId eq "42" and active eq true'):
        found = directory.send("GET", f"/Users?filter={text}").json
        assert [one["id"] for one in found["Resources"]] == [identity], text
    grace = Actor("tenant", "password", PersonId(identity))
    assert api.get(grace, f"/people?tenant={world.tenant}").status_code == 200
    renamed = directory.patch(
        identity, {"op": "replace", "value": {"name.formatted": "x", "displayName": "Grace H."}}
    )
    assert (renamed.json["displayName"], renamed.json["active"]) == ("Grace H.", True)

    assert off(identity, directory, active=False).json["active"] is False
    assert api.get(grace, f"/people?tenant={world.tenant}").status_code == 401, "its token too"
    assert directory.send("GET", f"/Users/{identity}").json["roles"] == []
    assert off(identity, directory, active=True).json["roles"] == [{"value": "admin"}]
    assert directory.send("DELETE", f"/Users/{identity}").status_code == 204
    assert directory.send("GET", f"/Users/{identity}").status_code == 404
    kinds = [entry["kind"] for entry in world.entries() if entry["subject"] == identity]
    assert [kind for kind in kinds if kind.startswith("member.")] == [
        *("member.added", "member.renamed", "member.removed"),
        *("member.added", "member.removed"),
    ]


def test_the_last_admin_stays_and_an_address_does_not_move(
    directory: Directory, world: World
) -> None:
    admin = world.admin.person_id or ""
    refused = off(admin, directory, active=False)
    assert (refused.status_code, "last admin" in refused.json["detail"]) == (409, True)
    moved = directory.patch(admin, {"op": "replace", "path": "userName", "value": "x@t.test"})
    assert (moved.status_code, moved.json["scimType"]) == (400, "mutability")


def test_a_directory_sees_and_ends_nothing_of_another_tenant(
    directory: Directory, api: Api, world: World
) -> None:
    """G12: a person of both has one account; what the other calls it, and gives it, stays."""
    other, other_admin = enrol(world, "Elsewhere")
    with world.as_(system("tests")) as tx:
        both = add_person(tx, "auditor", other)
        stranger = add_person(tx, "auditor", other).person_id or ""
        email = people.get_person(tx, both.person_id or "").email
    assert stranger not in directory.send("GET", "/Users").text
    for method in ("GET", "DELETE"):
        assert directory.send(method, f"/Users/{stranger}").status_code == 404
    made = directory.create("both", userName=email)
    assert (made.status_code, made.json["id"]) == (201, both.person_id)
    off(made.json["id"], directory, active=False)
    members = api.get(other_admin, f"/people?tenant={other}").json["items"]
    assert [one["role"] for one in members if one["id"] == both.person_id] == ["auditor"]
    assert "Both" not in str(members)


def test_the_token_opens_this_alone_and_is_void_once_replaced(
    directory: Directory, api: Api, world: World
) -> None:
    headers = {"Authorization": f"Bearer {directory.token}"}
    client = api.app.test_client(use_cookies=False)
    assert client.get("/api/v1/me", headers=headers).status_code == 401
    own = Directory(api, api.token(world.admin))
    assert own.send("GET", "/Users").status_code == 401, "nor does a person's token open it"
    (listed,) = api.get(world.admin, f"/directories?tenant={world.tenant}").json["items"]
    again = api.post(world.admin, f"/directories/{listed['id']}/token").json["token"]
    assert directory.send("GET", "/Users").status_code == 401
    directory.token = again
    assert directory.send("GET", "/Users").status_code == 200
    assert api.send(world.admin, "DELETE", f"/directories/{listed['id']}").status_code == 204
    assert directory.send("GET", "/Users").status_code == 401


@pytest.mark.parametrize(
    "text", ['userName co "a"', 'password eq "a"', 'userName eq "a" or id eq "b"', "userName eq"]
)
def test_a_filter_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ScimError):
        filters.parse(text)
