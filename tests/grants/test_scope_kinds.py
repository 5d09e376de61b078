"""Kinds of a scope: structure alone, masked rows, named columns in clear; no writing (G2, G4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engines import Catalogue, Column, Constraint, Fate, Table
from broker.engines.postgres.masks import MASKS, find_obstacle
from broker.errors import Conflict, Invalid
from broker.grants import approval_policy, decisions, requests, shown_plans
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.drift import more_masked
from broker.grants.narrowing import Narrowing, is_within, meet_plans, narrow_plan
from broker.grants.plan import Plan, from_document, make_plan
from broker.grants.policy import load_policy
from broker.grants.scope_kinds import KINDS, RAW, STRUCTURE, Wanted, Ways, find_problems
from broker.grants.statements import sign_due
from broker.ids import GrantId
from tests.grants.test_time import ask_of
from tests.stories import control_superuser
from tests.world import World, connect

POLICY = load_policy(Path("config/masking.toml"), frozenset(MASKS))
LIVE = Ways(live=True, copy=False, platform=False)


def _column(name: str, kind: str = "text") -> Column:
    return Column(name, kind, kind)


CATALOGUE = Catalogue(
    170000,
    (
        Table(
            "crm",
            "people",
            "table",
            (
                _column("id", "integer"),
                _column("email"),
                _column("note"),
                _column("password_hash"),
                _column("sector"),
                _column("ref"),
            ),
            (
                Constraint("people_pkey", "primary", ("id",)),
                Constraint("people_ref", "foreign", ("ref",), ("crm", "refs"), ("code",)),
            ),
        ),
        Table("crm", "refs", "table", (_column("code"),)),
    ),
)


def plan_of(kind: str, *raw: str) -> Plan:
    return make_plan(POLICY, CATALOGUE, find_obstacle, wanted=Wanted(kind, raw))


def fate_of(plan: Plan, column: str) -> Fate:
    table = plan.find_table("crm.people")
    assert table is not None
    return table.fates()[column]


def test_a_raw_column_is_in_clear_with_the_mask_that_it_would_have_and_no_other_is() -> None:
    raw, masked = plan_of(RAW, "crm.people.email"), plan_of("masked")
    assert (raw.kind, masked.kind) == (RAW, "masked")
    assert fate_of(raw, "email").mask == "keep"
    assert not is_within(raw, masked)
    back = narrow_plan(raw, Narrowing(columns_masked=frozenset({"crm.people.email"})))
    assert back.kind == "masked"
    assert [c.fate.mask for t in back.tables for c in t.columns] == [
        c.fate.mask for t in masked.tables for c in t.columns
    ]
    assert is_within(back, raw)
    assert not is_within(raw, back)
    assert meet_plans([raw, back]).kind == "masked"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("crm.people.password_hash", "never"),
        ("crm.people.ref", "joins tables"),
        ("crm.people.nothing", "no such column"),
        ("other.people.email", "no such column"),
    ],
)
def test_what_can_not_be_raw_stays_masked_and_the_plan_says_so(name: str, why: str) -> None:
    plan = plan_of(RAW, name)
    assert plan.kind == "masked"
    assert [r for r in plan.remarks if r.startswith(f"not raw: {name}: ") and why in r]
    assert plan.tables[0].fates()["email"].mask != "keep"


@pytest.mark.parametrize(
    "name", ["password", "pwd_hash", "api_key", "ssh_key", "session", "login_token", "totp"]
)
def test_no_credential_is_ever_raw(name: str) -> None:
    column = _column(name)
    table = Table("crm", "users", "table", (column,))
    assert POLICY.find_never_raw(table, column)
    wanted = Wanted(RAW, (f"crm.users.{name}",))
    plan = make_plan(POLICY, Catalogue(170000, (table,)), find_obstacle, wanted=wanted)
    assert not plan.tables[0].columns[0].kept


def test_structure_shows_no_row_and_none_can_be_added() -> None:
    plan = plan_of(STRUCTURE)
    assert plan.kind == STRUCTURE
    assert not any(table.rows for table in plan.tables)
    assert narrow_plan(plan, Narrowing()) == meet_plans([plan, plan]) == plan
    assert not is_within(plan_of("masked"), plan)
    fresh = plan_of("masked")
    copied, _ = more_masked(plan, fresh)
    assert (copied.kind, [table.rows for table in copied.tables]) == (STRUCTURE, [False, False])


def test_a_copy_is_never_made_of_a_raw_plan() -> None:
    """No request asks it; this is the second barrier (G4)."""
    with pytest.raises(Conflict, match="never made of a plan with raw"):
        more_masked(plan_of(RAW, "crm.people.email"), plan_of("masked"))


_names = st.sets(
    st.sampled_from([f"crm.people.{c.name}" for c in CATALOGUE.tables[0].columns] + ["a.b.c"])
)


@given(_names, st.sets(st.sampled_from(["email", "note", "sector", "id"])))
def test_only_what_was_named_is_raw_and_narrowing_only_takes_away(
    names: set[str], taken: set[str]
) -> None:
    asked = plan_of(RAW, *sorted(names))
    raw = {f"{t.full_name}.{c.name}" for t in asked.tables for c in t.columns if c.raw}
    assert raw == names & {"crm.people.email", "crm.people.note"}
    assert from_document(asked.document()) == asked
    masked = frozenset(f"crm.people.{name}" for name in taken - {"id"})
    less = narrow_plan(asked, Narrowing(columns_masked=masked))
    assert {c.name for c in less.tables[0].columns if c.raw} == {
        name.rpartition(".")[2] for name in raw - masked
    }
    assert is_within(less, asked)
    assert is_within(asked, less) == (less == asked)


@pytest.mark.parametrize(
    ("wanted", "ways", "field", "word"),
    [
        (Wanted("write"), LIVE, "kind", "ask for a copy and change that"),
        (Wanted("all"), LIVE, "kind", "structure, masked, raw"),
        (Wanted(RAW), LIVE, "raw_columns", "name columns"),
        (Wanted("masked", ("a.b.c",)), LIVE, "raw_columns", "with no other"),
        (Wanted(RAW, ("b.c",)), LIVE, "raw_columns", "schema.table.column"),
        (Wanted(RAW, tuple(f"a.b.{n}" for n in range(101))), LIVE, "raw_columns", "at most 100"),
        (Wanted(RAW, ("a.b.c",)), replace(LIVE, copy=True), "kind", "live access alone"),
        (Wanted(STRUCTURE), replace(LIVE, platform=True), "kind", "show values"),
    ],
)
def test_what_can_not_be_asked_is_refused_by_field(
    wanted: Wanted, ways: Ways, field: str, word: str
) -> None:
    assert word in find_problems(wanted, ways)[field]


def test_the_usual_kinds_can_be_asked() -> None:
    for wanted in (Wanted(), Wanted(STRUCTURE), Wanted(RAW, ("a.b.c",))):
        assert wanted.kind in KINDS
        assert find_problems(wanted, LIVE) == {}


# On a real server.


def asked(world: World, kind: str, *raw: str) -> GrantId:
    ask = replace(ask_of(world, world.ticket()), copy_s=0, wanted=Wanted(kind, raw))
    with world.as_(world.engineer) as tx:
        grant_id = requests.request(tx, ask, world.broker.settings.times, world.broker.queue)
    world.work()
    return grant_id


def session_of(world: World, grant_id: str) -> psycopg.Connection:
    lease_id, password = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued", world.find_lease(lease_id).stuck_reason
    return world.login(lease_id, password)


@pytest.fixture(scope="module")
def raw_grant(anyone: World) -> str:
    names = ("crm.contacts.email", "crm.contacts.notes", "crm.users.password_hash")
    grant_id = asked(anyone, RAW, *names)
    anyone.approve(grant_id, Narrowing(columns_masked=frozenset({"crm.contacts.notes"})))
    return grant_id


def test_a_login_reads_the_raw_column_alone_in_clear(anyone: World, raw_grant: str) -> None:
    with connect(anyone.live, anyone.crm) as admin:
        true = admin.execute("SELECT id, email, notes, phone FROM crm.contacts ORDER BY id")
        clear = {row[0]: row[1:] for row in true.fetchall()}
        hashes = {h for (h,) in admin.execute("SELECT password_hash FROM crm.users").fetchall()}
    with session_of(anyone, raw_grant) as session:
        seen = session.execute("SELECT id, email, notes, phone FROM contacts").fetchall()
        shown = {h for (h,) in session.execute("SELECT password_hash FROM users").fetchall()}
    assert len(seen) == len(clear) > 10
    assert all(email == clear[identity][0] for identity, email, _, _ in seen)
    assert not [row for row in seen if row[2] and row[2] == clear[row[0]][1]]
    assert not [row for row in seen if row[3] and row[3] == clear[row[0]][2]]
    assert not hashes & shown


def test_what_was_signed_and_logged_names_the_kind(anyone: World, raw_grant: str) -> None:
    sign_due(anyone.broker.database, anyone.ports.keys)
    with anyone.as_(anyone.admin) as tx:
        (decision,) = decisions.list_decisions(tx, raw_grant)
        envelope = decisions.read_decision_envelope(tx, decision.id)
        plan = shown_plans.get_plan(tx, raw_grant, anyone.grant(raw_grant).given_digest)
    assert decision.kind == plan.kind == RAW
    assert b"email" not in envelope  # no name of a column: those stand in the plan, by digest
    entries = [entry for entry in anyone.entries() if entry.get("subject") == raw_grant]
    facts = {entry["kind"]: entry["facts"] for entry in entries}
    assert facts["grant.requested"]["kind"] == facts["grant.approved"]["kind"] == RAW
    assert (facts["plan.made"]["columns_raw"], facts["grant.approved"]["columns_raw"]) == (2, 1)


def test_with_every_raw_column_masked_the_grant_is_a_masked_one(anyone: World) -> None:
    grant_id = asked(anyone, RAW, "crm.contacts.email")
    anyone.approve(grant_id, Narrowing(columns_masked=frozenset({"crm.contacts.email"})))
    grant = anyone.grant(grant_id)
    assert (grant.asked_kind, grant.given_kind) == (RAW, "masked")


def test_a_login_of_the_structure_reads_names_and_no_row(anyone: World) -> None:
    grant_id = asked(anyone, STRUCTURE)
    anyone.approve(grant_id)
    assert anyone.grant(grant_id).given_kind == STRUCTURE
    with session_of(anyone, grant_id) as session:
        columns = session.execute(
            "SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
            " JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'crm' AND relname = 'users' AND attnum > 0"
        ).fetchall()
        readable = session.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON"
            " n.oid = relnamespace WHERE nspname !~ '^(pg_|information_schema)'"
            " AND relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND has_any_column_privilege(c.oid, 'SELECT')"
        ).fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT count(*) FROM crm.users")
    assert ("password_hash",) in columns
    assert readable == []


def test_a_policy_of_masked_rows_only_refuses_raw_when_it_is_asked(anyone: World) -> None:
    def set_policy(policy: ApprovalPolicy) -> None:
        with anyone.as_(anyone.admin) as tx:
            approval_policy.propose(tx, anyone.tenant, policy)

    set_policy(ApprovalPolicy(masked_only=True))
    try:
        with pytest.raises(Invalid) as refused:
            asked(anyone, RAW, "crm.contacts.email")
        assert "nothing in clear" in refused.value.facts["fields"]["kind"]
        assert anyone.grant(asked(anyone, "masked")).asked_kind == "masked"
    finally:
        set_policy(ApprovalPolicy())


def test_the_database_itself_forbids_a_wider_kind(anyone: World) -> None:
    grant_id = asked(anyone, "masked")
    for change in (
        "given_kind = 'raw'",
        "asked_kind = 'raw'",
        "asked_kind = 'raw', raw_columns = '[\"a.b.c\"]', asked_copy_s = 60",
    ):
        with (
            control_superuser(anyone) as connection,
            pytest.raises(psycopg.errors.CheckViolation),
        ):
            connection.execute(f"UPDATE access_grant SET {change} WHERE id = %s", [grant_id])
