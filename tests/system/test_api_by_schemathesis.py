"""Cases that schemathesis makes from the API's own description, sent as each role.

No answer is a defect (5xx), and each is described: its status, its media type, its form. Bounded
here, each operation as half of the roles; with SOAK=1 (`make soak`) a hundred thousand cases, or as
many as CASES says, each operation as every role. What a case asks for is mostly made up; half of
the cases name things that are there.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
import yaml
from schemathesis.core.failures import FailureGroup

from broker.api.specification import make_specification
from broker.cli.output import to_yaml
from broker.http import create_app
from broker.tx import Actor, system
from tests.api.conftest import Api
from tests.world import World, add_person

DOCUMENT = json.loads(make_specification())
# Of all operations and roles together.
CASES = int(os.environ.get("CASES") or (100_000 if os.environ.get("SOAK") else 504))
ROLES = ("admin", "engineer", "operator", "auditor", "lead", "privacy_officer")
_WAITS = 50  # one case in so many waits for what will not happen: up to 10 s
# Signing in makes argon2 work each time; it has tests of its own.
LEFT_OUT = {"sign_in"}


@pytest.fixture
def app(world: World) -> Api:
    broker = world.broker
    web = broker.settings.web.model_copy(update={"requests_per_minute": 0})
    settings = broker.settings.model_copy(update={"web": web})
    app = create_app(dataclasses.replace(broker, settings=settings))
    return Api(world, app, "")


@pytest.mark.parametrize("role", ROLES)
def test_no_case_finds_a_defect_or_an_answer_that_is_not_described(app: Api, role: str) -> None:
    world = app.world
    actors = {"admin": world.admin, "engineer": world.engineer, "operator": world.operator}
    with world.as_(system("tests")) as tx:
        for name in ROLES[3:]:
            actors[name] = add_person(tx, name, world.tenant if name == "auditor" else None)
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    there = {"grant_id": grant_id, "lease_id": lease_id, "tenant_id": world.tenant}
    there |= {"database_id": world.database_id, "server_id": world.server_id}
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app.app)
    found = [result.ok() for result in schema.get_all_operations()]
    operations = [one for one in found if one.definition.raw["operationId"] not in LEFT_OUT]
    assert len(operations) > 90
    each = math.ceil(CASES / len(ROLES) / len(operations))
    one_in = max(1, round(len(ROLES) * len(operations) / CASES))
    failed = [
        f"{one.method} {one.path}: {problem}"
        for one in operations[ROLES.index(role) % one_in :: one_in]
        if (problem := find_problem(one, sender(app, actors[role], there), each))
    ]
    assert not failed, "\n\n".join(failed)


def sender(app: Api, actor: Actor, there: dict[str, str]) -> Callable[[Any], Any]:
    """Sends a case with the actor's token; every other one about things that are there."""
    count = 0

    def send(case: Any) -> Any:
        nonlocal count
        count += 1
        if count % 2:
            known = {name: there[name] for name in case.path_parameters or {} if name in there}
            case.path_parameters.update(known)
        if count % _WAITS and "wait" in (case.query or {}):
            case.query["wait"] = 0
        return case.call(headers={"Authorization": f"Bearer {app.token(actor)}"})

    return send


def find_problem(operation: Any, send: Callable[[Any], Any], cases: int) -> str | None:
    checks = (
        schemathesis.checks.not_a_server_error,
        *(schemathesis.checks.CHECKS.get_one(name) for name in CONFORMANCE),
    )

    @hypothesis.settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy())
    def run(case: Any) -> None:
        case.validate_response(send(case), checks=list(checks))

    try:
        run()
    except (Exception, FailureGroup) as error:  # noqa: BLE001  # all are told, each by its operation
        return str(error)[:1500]
    return None


CONFORMANCE = (
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
VALUES = hypothesis.strategies.recursive(
    hypothesis.strategies.none()
    | hypothesis.strategies.booleans()
    | hypothesis.strategies.integers()
    | hypothesis.strategies.text(),
    lambda inner: (
        hypothesis.strategies.lists(inner, max_size=4)
        | hypothesis.strategies.dictionaries(hypothesis.strategies.text(), inner, max_size=4)
    ),
)


@hypothesis.settings(max_examples=50, derandomize=True, database=None, deadline=None)
@hypothesis.given(VALUES)
def test_the_command_lines_yaml_is_read_as_it_was_meant(value: object) -> None:
    """By a reader that is not ours, which comes with schemathesis."""
    assert yaml.safe_load(to_yaml(value)) == value
