"""The story's first step: a vendor and two tenants, people with roles, servers registered."""

from __future__ import annotations

import re
import subprocess

import httpx

from broker.demo.people import Unexpected, Who
from broker.demo.processes import broker_command, wait_until
from broker.demo.story import Story
from broker.demo.world import CRM, DemoWorld, as_superuser


def enrol(story: Story) -> None:
    world, operator = story.world, story.operator
    boot = ["people", "bootstrap", "--email", operator.email, "--name", operator.name]
    _as_owner(world, [*boot, "--password-stdin"], operator.password.reveal() + "\n")
    operator.sign_in()
    story.tenant = _enrol_tenant(story, "First Tenant", "100000009", story.admin)
    story.other_tenant = _enrol_tenant(story, "Second Tenant", "200000008", story.neighbour)
    operator.call(
        "POST",
        "/people",
        {"email": story.engineer.email, "name": story.engineer.name, "role": "engineer"},
    )
    for person in (story.engineer, story.admin, story.neighbour):
        _accept_invitation(story, person)
    _pin_keys(story)
    for tenant, admin in ((story.tenant, story.admin), (story.other_tenant, story.neighbour)):
        _consent(admin, tenant)
    _register_servers(story)
    story.say(
        "a vendor, two tenants with an admin each, an engineer; both admins set their own passwords"
    )
    story.say(
        "both admins read what support may use their data for, and consented to live access and to "
        "masked copies, each by itself"
    )
    story.say("Ada pinned her log's key: from now on she can check it without us")


def _as_owner(world: DemoWorld, arguments: list[str], stdin: str) -> None:
    subprocess.run(
        broker_command(*arguments),
        input=stdin,
        text=True,
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "BROKER_CONFIG": str(world.folder / "worker.toml")},
    )


def _enrol_tenant(story: Story, name: str, siren: str, admin: Who) -> str:
    """The number is invented; its check digit is right."""
    body = {
        "name": name,
        "legal_id": siren,
        "ticket_customer": f"customer-{siren[0]}",
        "admin_email": admin.email,
        "admin_name": admin.name,
    }
    tenant: str = story.operator.call("POST", "/tenants", body)["id"]
    return tenant


def _accept_invitation(story: Story, person: Who) -> None:
    """Read the code from the mail, as a person would, and choose a password."""
    found: list[str] = []

    def arrived() -> bool:
        for message in story.world.mails.messages():
            text = message.get_body(("plain",))
            if person.email in str(message["To"]) and text is not None:
                found.extend(
                    word
                    for word in text.get_content().split()
                    if len(word) == 32 and "/" not in word
                )
        return bool(found)

    wait_until(arrived, f"the invitation of {person.name}")
    answer = httpx.post(
        f"{story.world.url}/api/v1/invitations/accept",
        json={"code": found[-1], "password": person.password.reveal()},
        timeout=20,
    )
    if answer.status_code not in {200, 201, 204}:
        raise Unexpected(f"the invitation of {person.name} was refused: {answer.text[:300]}")
    person.sign_in()


def _pin_keys(story: Story) -> None:
    """By the fingerprints in the invitation's mail: another way than the broker's own answer."""
    text = "".join(
        body.get_content()
        for message in story.world.mails.messages()
        if story.admin.email in str(message["To"])
        and (body := message.get_body(("plain",))) is not None
    )
    prints = re.findall(r"\b[0-9a-f]{64}\b", text)
    chosen = [word for mark in prints for word in ("--fingerprint", mark)]
    story.admin.run("tenants", "pin", story.tenant, *chosen)


def _consent(admin: Who, tenant: str) -> None:
    """To each purpose by itself, by the digest of the text that was read."""
    digests = {one["purpose"]: one["digests"] for one in admin.read("consents", "list", tenant)}
    for purpose in ("live_access", "test_copy"):
        admin.read("consents", "give", tenant, purpose, "--shown", digests[purpose]["en"])


def _register_servers(story: Story) -> None:
    """Each server's DBA runs the SQL that the broker prints; the password is sealed at once."""
    world, operator = story.world, story.operator
    password_file = operator.home / "login.password"
    setup = operator.run(
        *("databases", "setup-sql", "--dbname", CRM, "--login", "sab_broker", "--schema", "crm"),
        *("--app-role", "crm_app", "--password-file", str(password_file)),
    )
    with as_superuser(world.live, CRM) as connection:
        connection.execute(setup.stdout.encode())
    story.database = operator.read(
        *("databases", "create", "--tenant", story.tenant, "--name", "CRM"),
        *("--host", world.live.host, "--port", str(world.live.port), "--dbname", CRM),
        *("--login", "sab_broker", "--schema", "crm", "--password-stdin"),
        stdin=password_file.read_text(),
    )["id"]
    password_file.unlink()
    setup = operator.run(
        *("servers", "setup-sql", "--login", "sab_host", "--password-file", str(password_file))
    )
    with as_superuser(world.test) as connection:
        connection.execute(setup.stdout.encode())
    operator.read(
        *("servers", "create", "--name", "internal test server", "--host", world.test.host),
        *("--port", str(world.test.port), "--login", "sab_host", "--password-stdin"),
        stdin=password_file.read_text(),
    )
    password_file.unlink()
