"""Rules of the design that import-linter can't express, read from the code itself.

Each rule is a function from a module's tree to sentences; each is also shown a bad module, so that
a rule that can't fail does not pass for one that holds.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import broker
from broker.db import Base, make_engine
from tests.world import OWNER_ROLE, ControlTemplate

ROOT = Path(broker.__file__).parent
OUTER = ("api/", "bootstrap.py", "cli/", "demo/", "reap.py", "scheduler.py", "web/")
OUTER += ("watching.py", "worker.py")
STATEFUL = {
    "Grant": "access_grant",
    "Standing": "standing_approval",
    "Review": "review",
    "Lease": "lease",
    "Snapshot": "snapshot",
    "Remnant": "remnant",
    "Drill": "drill",
    "BackupRun": "backup_run",
    "Restore": "backup_restore",
}
_UPDATE = re.compile(rf"\bUPDATE\s+({'|'.join(STATEFUL.values())})\b", re.IGNORECASE)
Rule = Callable[[ast.AST], Iterator[str]]

# Files that read the host's clock below the outer layers, and why they may.
CLOCKS: Mapping[str, str] = {
    "doctor/control.py": "compares it with the control database's clock",
    "snapshots/places.py": "bounds the throw-away owner's login; no decision rests on it",
}
# Files in which a secret is taken out of its wrapping, and where it goes from there.
REVEALING: Mapping[str, str] = {
    "engines/postgres/dedicated/cluster.py": "to initdb, through a pipe",
    "engines/postgres/dedicated/volume.py": "to gocryptfs, through a pipe",
    "authenticators.py": "a seed, into the address that is shown once; codes, to be compared",
    "entering.py": "a browser's value, into its digest",
    "web/codes.py": "a seed and recovery codes, once, to the person whose they are",
    "api/oauth.py": "a new platform token, once, to the engineer who asked for it",
    "api/platforms.py": "a platform's new secret, once, to the operator who registered it",
    "api/directories.py": "a directory's new token, once, to the admin who registered it",
    "api/webhooks.py": "a webhook's new secret, once, to the admin who registered it",
    "web/webhooks.py": "a webhook's new secret, once, to the admin who registered it",
    "cli/webhooks.py": "an address that was typed, into the request that registers it",
    "webhooks/registering.py": "an address, to be looked at before it is sealed",
    "webhooks/messages.py": "secrets of a webhook, into what they sign",
    "webhooks/delivering.py": "a webhook's address, to where it leads",
    "web/directories.py": "a directory's new token, once, to the admin who registered it",
    "api/tokens.py": "a new token, once, to the person who made it",
    "cli/account.py": "a password or code that was typed, into the request that it is for",
    "cli/tokens.py": "a password that was typed, into the request that it confirms",
    "cli/api.py": "a token into the request's header, or the form that exchanges it",
    "cli/connect.py": "a lease's password, into the environment of psql alone",
    "cli/snapshot_env.py": "a lease's password, into what an application was asked to be given",
    "cli/logins.py": "a new login's password, into a private file, or shown when asked for",
    "cli/kept.py": "a token, into the system's keyring",
    "cli/session.py": "a password or token that was typed, into the request that signs in",
    "db.py": "the control database's login, to libpq",
    "engines/postgres/connect.py": "a login and session options, to libpq or a file in memory",
    "engines/postgres/masks.py": "the masking key, into session options that are a Secret again",
    "engines/postgres/scram.py": "a password, into its verifier",
    "cli/storages.py": "a session's keys, to the program that asked for them",
    "grants/session_steps.py": "a session's keys, into the text that is sealed",
    "snapshots/spot.py": "the canaries' key, into the text that is sealed",
    "oidc/answers.py": "a code of a sign-in, into its seal",
    "oidc/redeeming.py": "code and client secret, to the service they are for",
    "stores/s3.py": "the login of the bucket, to its client",
    "stores/sts.py": "the login at the token service, to its client",
    "grants/tokens.py": "a platform token, into its digest",
    "http.py": "the key that signs cookies, to Flask",
    "jobs.py": "the control database's login, to libpq",
    "keys/intake.py": "a login or token, into its seal",
    "keys/pkcs11.py": "what is wrapped, and the PIN, to the device",
    "keys/openbao.py": "what is wrapped, and the token, to OpenBao",
    "keys/keyring.py": "what is wrapped, into its seal",
    "labels.py": "the key of labels, into a MAC",
    "mail.py": "an invitation's code, into the mail that brings it",
    "sealing.py": "a data key, to Tink",
    "accounts.py": "a password, token or code, into its digest",
    "signin.py": "a password, into its hash; a token, into its checksum",
    "tickets/client.py": "the ticket system's token, into its header",
    "tickets/driver.py": "the ticket system's token, into its header",
    "tickets/gitlab.py": "webhook secrets, to tell those that sign from those that are sent",
    "tickets/glpi.py": "a user's password, into the form that asks for a token",
    "tickets/linear.py": "the start of the token, which says what kind it is",
    "tickets/signatures.py": "webhook secrets, into the MAC or the comparison that checks",
    "tickets/generic.py": "the ticket system's webhook secrets, to the library that checks",
    "web/registered.py": "a platform's new secret, once, to the operator who registered it",
    "web/session.py": "a session's token, into its cookie",
}
# Made by the migration and spoken of in SQL only.
WITHOUT_MODEL = {"scheduler_lead", "sweep_run"}
WITHOUT_ATTRIBUTE = {("audit_entry", "txid")}


def modules() -> list[tuple[str, ast.Module]]:
    """(path below broker/, tree) of every module but the migrations."""
    paths = sorted(path for path in ROOT.rglob("*.py") if "migrations" not in path.parts)
    assert len(paths) > 50
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths]


def breaches(rule: Rule, *, outside: Callable[[str], bool] = lambda _: False) -> list[str]:
    return [
        f"broker/{name}: {sentence}"
        for name, tree in modules()
        if not outside(name)
        for sentence in rule(tree)
    ]


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Each call with the last part of its function's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(attr=name) | ast.Name(id=name):
                    yield node, name


def find_assigned_states(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets):
                written = [part for target in targets for part in ast.walk(target)]
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                written = [target]
            case _:
                continue
        if any(_is_state(part) for part in written):
            yield f"line {node.lineno} assigns a state"


def find_updated_states(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and any(_is_state(key) for key in node.keys):
            yield f"line {node.lineno} maps a state to a new value"
        if isinstance(node, ast.Constant) and _UPDATE.search(str(node.value)):
            yield f"line {node.lineno} updates a table with states by hand"
    for call, name in calls(tree):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        inside = given.get("values")
        keys = inside.keys if isinstance(inside, ast.Dict) else []
        named = [*keys, *(call.args if name == "setattr" else [])]
        if name in {"values", "update"} and "state" in given:
            yield f"line {call.lineno} updates a state"
        if any(isinstance(part, ast.Constant) and part.value == "state" for part in named):
            yield f"line {call.lineno} passes a state by name"


def _is_state(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "state"


def find_births_without_entry(tree: ast.AST) -> Iterator[str]:
    """Whoever makes a row with a state hands it to `record_birth` in the same function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            names = {name for _, name in calls(function)}
            if names & set(STATEFUL) and "record_birth" not in names:
                yield f"{function.name} makes a row with a state and no entry"
    for call, name in calls(tree):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if name in STATEFUL and not isinstance(given.get("state"), ast.Constant):
            yield f"line {call.lineno} makes a {name} without its first state"


def find_clocks(tree: ast.AST) -> Iterator[str]:
    for call, name in calls(tree):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        of = owner.id if isinstance(owner, ast.Name) else ""
        asked = {("datetime", n) for n in ("now", "utcnow", "today")} | {("date", "today")}
        if (of, name) in asked | {("time", "time"), ("time", "time_ns")}:
            yield f"line {call.lineno} asks the host's clock: {of}.{name}"


def find_prints(tree: ast.AST) -> Iterator[str]:
    for call, name in calls(tree):
        if name == "print" and isinstance(call.func, ast.Name):
            yield f"line {call.lineno} prints"


def find_reveals(tree: ast.AST) -> Iterator[str]:
    for call, name in calls(tree):
        if name == "reveal":
            yield f"line {call.lineno} takes a secret out"


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_only_the_one_door_writes_a_state() -> None:
    """G9: `advance` and `record_birth` leave the entry; nothing else writes a state."""
    for rule in (find_assigned_states, find_updated_states):
        assert breaches(rule, outside=lambda name: name == "states.py") == []
    assert breaches(find_births_without_entry) == []


def test_below_the_outer_layers_nobody_asks_the_hosts_clock() -> None:
    assert breaches(find_clocks, outside=lambda n: n.startswith(OUTER) or n in CLOCKS) == []
    named = {name for name, tree in modules() if list(find_clocks(tree))}
    assert set(CLOCKS) <= named, "a file of the list asks no clock any more: take it out"


def test_nothing_prints_but_the_command_line_and_the_demo() -> None:
    assert breaches(find_prints, outside=lambda name: name.startswith(("cli/", "demo/"))) == []


def test_every_file_that_takes_a_secret_out_is_on_the_list() -> None:
    """G11. The demo holds the passwords that it makes itself."""
    found = breaches(find_reveals, outside=lambda n: n.startswith("demo/") or n in REVEALING)
    assert found == [], "say in REVEALING where the secret goes, or take none out"
    named = {name for name, tree in modules() if list(find_reveals(tree))}
    assert set(REVEALING) <= named, "a file of the list takes none out any more: take it off"


def test_ports_do_not_know_each_other() -> None:
    siblings = {"audit", "engines", "stores", "keys", "tickets"}
    found = [
        f"broker/{name} imports {target}"
        for name, tree in modules()
        if (port := name.partition("/")[0]) in siblings
        for target in imported(tree)
        if target.startswith(tuple(f"broker.{other}" for other in siblings - {port}))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (find_assigned_states, "row.state = 'ready'"),
        (find_assigned_states, "row.attempts, row.state = 0, 'ready'"),
        (find_updated_states, "sa.update(Grant).values(state='ended')"),
        (find_updated_states, "sa.update(Grant).values({Grant.state: 'ended'})"),
        (find_updated_states, "advance(tx, row, END, values={'state': 'ended'})"),
        (find_updated_states, "setattr(row, 'state', 'ended')"),
        (find_updated_states, "sa.text('UPDATE lease SET state = 1')"),
        (find_births_without_entry, "Grant(id='x', state=chosen)"),
        (find_births_without_entry, "def make(tx): tx.session.add(Lease(state='pending'))"),
        (find_clocks, "datetime.now(UTC)"),
        (find_clocks, "time.time()"),
        (find_prints, "print('x')"),
        (find_reveals, "password.reveal()"),
    ],
)
def test_each_rule_sees_what_it_forbids(rule: Rule, bad: str) -> None:
    assert list(rule(ast.parse(bad)))


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
def test_models_are_the_migrated_schema(control_template: ControlTemplate) -> None:
    """Names, types and nullability. Indexes, checks and triggers stand in the migration alone."""
    for module in pkgutil.walk_packages([str(ROOT)], "broker."):
        below = module.name.removeprefix("broker.").replace(".", "/")
        if not f"{below}/".startswith((*OUTER, "migrations/")) and f"{below}.py" not in OUTER:
            importlib.import_module(module.name)
    engine = make_engine(control_template.dsn(OWNER_ROLE, control_template.name))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "include_object": _is_ours}
            )
            found = compare_metadata(context, Base.metadata)
    finally:
        engine.dispose()
    known = {
        *(("remove_table", name) for name in WITHOUT_MODEL),
        *(("remove_column", *names) for names in WITHOUT_ATTRIBUTE),
    }
    assert {_told(entry) for entry in found} == known


def _is_ours(
    item: sa.schema.SchemaItem,
    name: str | None,
    kind: str,
    _reflected: bool,  # noqa: FBT001  # alembic calls it by position
    _other: sa.schema.SchemaItem | None,
) -> bool:
    queues = kind == "table" and (name or "").startswith("procrastinate_")
    return not queues and kind not in {"index", "unique_constraint"}


def _told(entry: tuple[object, ...] | list[tuple[object, ...]]) -> tuple[str, ...]:
    if isinstance(entry, list):  # several changes of one column
        return tuple(str(part) for part in entry[0])
    change = str(entry[0])
    if isinstance(entry[1], sa.Table):
        return (change, entry[1].name)
    names = [part.name if isinstance(part, sa.Column) else part for part in entry[2:]]
    return (change, *(str(name) for name in names))


def test_each_decision_record_has_a_number_of_its_own_and_says_it() -> None:
    records = sorted((ROOT.parent / "docs" / "adr").glob("*.md"))
    numbers = [record.name[:4] for record in records]
    assert len(numbers) > 10
    assert [n for n in numbers if numbers.count(n) > 1] == []
    for record in records:
        assert record.name[:4] in record.read_text().partition("\n")[0], record.name
