"""Live databases and test servers that are registered, and the broker's logins there."""

from __future__ import annotations

from marshmallow import fields, validate

from broker import people, tenants
from broker.api.operations import acting, new_blueprint, operation, the_broker
from broker.api.shapes import (
    Answer,
    Base64,
    Sent,
    TenantQuery,
    WaitQuery,
    bytes_of,
    identity,
    list_of,
    seconds,
    text,
    whole,
)
from broker.api.waiting import wait_for
from broker.db import Json
from broker.grants import contacts, preflights, releasing, rotating
from broker.grants.contacts import Registered
from broker.grants.releasing import ReleaseView
from broker.ids import TenantId
from broker.tenancy import DATABASE, FORMS, TYPES
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx

blueprint = new_blueprint("registered", "Databases and test servers")


class ServerFields(Sent):
    name = text(200)
    host = text(255)
    port = fields.Integer(strict=True, required=True, validate=validate.Range(1, 65535))
    login = text(63)
    sealed_password = Base64(
        required=True,
        validate=validate.Length(1, 4096),
        metadata={
            "type": "string",
            "format": "byte",
            "description": "sealed to the key of `GET /keys/intake` with HPKE (RFC 9180)",
        },
    )
    ca_file = text(1024, required=False, load_default=None, allow_none=True)


class TableKeyShape(Sent):
    table = text(130, metadata={"description": "schema.table"})
    column = text(63)
    type = fields.String(validate=validate.OneOf(TYPES), metadata={"description": "as the key's"})
    value = text(200, required=False)


class TenancyShape(Sent):
    """Which part of the database is the tenant's; all but `form` belong to `rows` alone."""

    form = fields.String(required=True, validate=validate.OneOf(FORMS))
    columns = fields.List(
        text(63),
        validate=validate.Length(0, 20),
        metadata={"description": "names of the tenant key's column; the first a table has counts"},
    )
    type = fields.String(validate=validate.OneOf(TYPES))
    value = text(200, required=False, metadata={"description": "this tenant's key"})
    tables = fields.List(
        fields.Nested(TableKeyShape),
        validate=validate.Length(0, 1000),
        metadata={"description": "tables whose key is in another column, or another key"},
    )
    shared = fields.List(
        text(130),
        validate=validate.Length(0, 1000),
        metadata={"description": "tables whose rows are the same for every tenant"},
    )


class DatabaseBody(ServerFields):
    tenant = identity("tnt")
    dbname = text(63)
    schemas = fields.List(text(63), required=True, validate=validate.Length(1, 100))
    known_logins = fields.List(
        text(63),
        load_default=list,
        validate=validate.Length(0, 200),
        metadata={"description": "who else may log in there: the application, a backup, the DBA"},
    )
    standbys = fields.List(
        text(262),
        load_default=list,
        validate=validate.Length(0, 20),
        metadata={"description": "HOST:PORT of each where the end of a login is confirmed too"},
    )
    tenancy = fields.Nested(TenancyShape, load_default=lambda: {"form": DATABASE})


class LoginsBody(Sent):
    known_logins = fields.List(text(63), required=True, validate=validate.Length(0, 200))


class StandbysBody(Sent):
    standbys = fields.List(text(262), required=True, validate=validate.Length(0, 20))


class ServerBody(ServerFields):
    kind = fields.String(
        load_default="shared",
        validate=validate.OneOf(tenants.KINDS),
        metadata={"description": "dedicated: a host where each copy gets a server of its own"},
    )


class ServerAnswer(Answer):
    id = fields.String()
    name = fields.String()
    host = fields.String()
    port = fields.Integer()
    login = fields.String()
    ca_file = fields.String(allow_none=True)
    kind = fields.String(metadata={"description": "shared, or dedicated: one for each copy"})
    registered_at = fields.AwareDateTime()
    rotated_at = fields.AwareDateTime(allow_none=True)
    refused_since = fields.AwareDateTime(
        allow_none=True, metadata={"description": "our login is refused: nothing can be made there"}
    )
    cluster = fields.String(
        allow_none=True, metadata={"description": "PostgreSQL's system identifier, since first met"}
    )
    found_cluster = fields.String(
        allow_none=True,
        metadata={"description": "another that answers there now; nothing is made until confirmed"},
    )


class TestServerAnswer(ServerAnswer):
    capacity_bytes = fields.Integer(
        allow_none=True, metadata={"description": "what copies may take there; null: no bound"}
    )


class ClusterBody(Sent):
    cluster = fields.String(
        required=True,
        validate=validate.Regexp(r"\A[0-9]{1,20}\Z"),
        metadata={"description": "as `found_cluster` says"},
    )


class LoginPasswordBody(Sent):
    sealed_password = Base64(
        required=True,
        validate=validate.Length(1, 4096),
        metadata={"type": "string", "format": "byte", "description": "sealed as at registration"},
    )


class DatabaseAnswer(ServerAnswer):
    tenant = fields.String(attribute="tenant_id")
    dbname = fields.String()
    schemas = fields.List(fields.String())
    tenancy = fields.Nested(TenancyShape)
    known_logins = fields.List(fields.String())
    standbys = fields.List(fields.String())


class ReleaseBody(Sent):
    closed_s = seconds(
        load_default=600,
        metadata={"description": "how long no login is made there; 4 hours at most"},
    )


class ReleaseAnswer(Answer):
    database = fields.String(attribute="database_id")
    clear = fields.Boolean(metadata={"description": "nothing of ours stands in the way now"})
    logins = fields.Integer(metadata={"description": "that are still being cut"})
    scopes = fields.Integer(metadata={"description": "whose views still stand"})
    released_until = fields.AwareDateTime(allow_none=True)
    stuck_reason = fields.String(allow_none=True)


class CapacityBody(Sent):
    capacity_bytes = bytes_of("what copies may take on this server")


@operation(blueprint, "GET /databases", query=TenantQuery, answer=list_of(DatabaseAnswer))
def list_databases(tx: Tx, query: Json) -> Json:
    """The registered live databases of a tenant."""
    return whole(tenants.list_databases(tx, query["tenant"]))


@operation(blueprint, "POST /databases", takes=DatabaseBody, answer=DatabaseAnswer, status=201)
def register_database(tx: Tx, body: Json) -> TenantDatabase:
    """Register a live database of a tenant; its login's password comes sealed. It is looked at."""
    tenant_id = TenantId(body.pop("tenant"))
    database_id = tenants.register_database(tx, tenant_id, TenantDatabase(**body))
    preflights.ask(tx, database_id, the_broker().queue)
    return tenants.get_database(tx, database_id)


@operation(blueprint, "GET /databases/<id:database_id>", answer=DatabaseAnswer, tagged=True)
def get_database(tx: Tx, database_id: str) -> TenantDatabase:
    """One live database."""
    row = tenants.get_database(tx, database_id)
    people.check(tx, "database:read", TenantId(row.tenant_id))
    return row


@operation(
    blueprint,
    "POST /databases/<id:database_id>/known-logins",
    takes=LoginsBody,
    answer=DatabaseAnswer,
    edits=get_database,
)
def register_logins(tx: Tx, body: Json, database_id: str) -> TenantDatabase:
    """Say who else may log in there, in place of what was said before. It is looked at again."""
    database = tenants.register_logins(tx, database_id, body["known_logins"])
    preflights.ask(tx, database_id, the_broker().queue)
    return database


@operation(
    blueprint,
    "POST /databases/<id:database_id>/standbys",
    takes=StandbysBody,
    answer=DatabaseAnswer,
    edits=get_database,
)
def register_standbys(tx: Tx, body: Json, database_id: str) -> TenantDatabase:
    """Say which standbys it has, in place of what was said before. It is looked at again."""
    database = tenants.register_standbys(tx, database_id, body["standbys"])
    preflights.ask(tx, database_id, the_broker().queue)
    return database


@operation(
    blueprint,
    "POST /databases/<id:database_id>/release",
    takes=ReleaseBody,
    query=WaitQuery,
    answer=ReleaseAnswer,
    transaction=False,
    scope="database:release",
)
def release_database(query: Json, body: Json, database_id: str) -> ReleaseView:
    """Make way for a migration: cut its logins, drop our views; `wait` waits until it is clear."""
    with acting() as tx:
        releasing.release(tx, database_id, body["closed_s"], the_broker().queue)
    return _wait_for_release(query, database_id)


@operation(
    blueprint,
    "GET /databases/<id:database_id>/release",
    query=WaitQuery,
    answer=ReleaseAnswer,
    transaction=False,
)
def get_release(query: Json, database_id: str) -> ReleaseView:
    """Whether anything of ours stands in the way of a migration; `wait` waits until not."""
    return _wait_for_release(query, database_id)


def _wait_for_release(query: Json, database_id: str) -> ReleaseView:
    return wait_for(
        query["wait"],
        lambda tx: releasing.get_release_view(tx, database_id),
        lambda view: view.clear,
        identity=database_id,
    )


@operation(
    blueprint,
    "POST /databases/<id:database_id>/confirm",
    takes=ClusterBody,
    answer=DatabaseAnswer,
)
def confirm_database(tx: Tx, body: Json, database_id: str) -> Registered:
    """Say that another cluster took the place of the former one, which is shut down."""
    return contacts.confirm(tx, database_id, body["cluster"])


@operation(
    blueprint, "POST /servers/<id:server_id>/confirm", takes=ClusterBody, answer=ServerAnswer
)
def confirm_server(tx: Tx, body: Json, server_id: str) -> Registered:
    """Say that another cluster took the place of the former test server, which is shut down."""
    return contacts.confirm(tx, server_id, body["cluster"])


@operation(blueprint, "GET /servers", answer=list_of(TestServerAnswer))
def list_servers(tx: Tx) -> Json:
    """The internal test servers, where copies are loaded."""
    people.check(tx, "server:read")
    return whole(tenants.list_servers(tx))


@operation(blueprint, "POST /servers", takes=ServerBody, answer=TestServerAnswer, status=201)
def register_server(tx: Tx, body: Json) -> TestServer:
    """Register an internal test server; its login's password comes sealed. It is looked at."""
    server_id = tenants.register_server(tx, TestServer(**body))
    preflights.ask(tx, server_id, the_broker().queue)
    return tenants.get_server(tx, server_id)


@operation(blueprint, "POST /databases/<id:database_id>/rotate", answer=DatabaseAnswer, status=202)
def rotate_database_login(tx: Tx, database_id: str) -> Registered:
    """Have the password of the broker's login there changed now; `rotated_at` says when it was."""
    return rotating.rotate_by_click(tx, database_id, the_broker().queue)


@operation(
    blueprint,
    "POST /databases/<id:database_id>/password",
    takes=LoginPasswordBody,
    answer=DatabaseAnswer,
    status=202,
)
def replace_database_password(tx: Tx, body: Json, database_id: str) -> Registered:
    """Give the password that the DBA has set for the broker's login; it is tried, then kept."""
    return rotating.replace_password(tx, database_id, body["sealed_password"], the_broker().queue)


@operation(blueprint, "GET /servers/<id:server_id>", answer=TestServerAnswer)
def get_server(tx: Tx, server_id: str) -> TestServer:
    """One test server."""
    people.check(tx, "server:read")
    return tenants.get_server(tx, server_id)


@operation(
    blueprint, "POST /servers/<id:server_id>/capacity", takes=CapacityBody, answer=TestServerAnswer
)
def set_server_capacity(tx: Tx, body: Json, server_id: str) -> TestServer:
    """Say what copies may take on this server; one that would not fit is refused when ordered."""
    return tenants.set_capacity(tx, server_id, body["capacity_bytes"])


@operation(blueprint, "POST /servers/<id:server_id>/rotate", answer=ServerAnswer, status=202)
def rotate_server_login(tx: Tx, server_id: str) -> Registered:
    """Have the password of the broker's login there changed now; `rotated_at` says when it was."""
    return rotating.rotate_by_click(tx, server_id, the_broker().queue)


@operation(
    blueprint,
    "POST /servers/<id:server_id>/password",
    takes=LoginPasswordBody,
    answer=ServerAnswer,
    status=202,
)
def replace_server_password(tx: Tx, body: Json, server_id: str) -> Registered:
    """Give the password that the DBA has set for the broker's login; it is tried, then kept."""
    return rotating.replace_password(tx, server_id, body["sealed_password"], the_broker().queue)
