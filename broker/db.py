"""The control database: models' base, the transaction, and locks across processes.

Every change happens in `Database.begin(actor)`, which yields the one `Tx`. ORM rows never leave it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from broker.bell import Bell
from broker.errors import BrokerError
from broker.secret import Secret
from broker.tx import Actor, Tx

Json = dict[str, Any]


class Base(DeclarativeBase):
    """All tables; their shape is made by the migrations, and a test compares the two."""

    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy's own way to declare it
        datetime: sa.DateTime(timezone=True),
        str: sa.Text,
        Json: JSONB,
        list[str]: sa.ARRAY(sa.Text),
        int: sa.BigInteger,
    }


class Stateful:
    """Columns of every row that has a state; only `states.advance` writes them."""

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    state: Mapped[str]
    state_at: Mapped[datetime]
    state_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))


class Retried:
    """Columns of what is retried for ever: never a last try, and always a reason to read."""

    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    stuck_since: Mapped[datetime | None]
    stuck_reason: Mapped[str | None]


# Of a connection string that says nothing else: a server that vanished is noticed in a minute.
_ALIVE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def _connect(dsn: Secret[str], *, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
    """A session whose instants are in UTC, whatever the server's own zone.

    In a zone with summer time Python compares and adds by the wall: where an hour comes twice, what
    is over would not be, for an hour.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(dsn.reveal()).items()}
    options = f"{given.pop('options', '')} -c TimeZone=UTC".strip()
    text = make_conninfo(**(_ALIVE | given), options=options)
    return psycopg.connect(text, autocommit=autocommit)


def make_engine(dsn: Secret[str], **options: Any) -> sa.Engine:
    """An engine for a libpq connection string, which stays out of SQLAlchemy's own errors."""
    return sa.create_engine("postgresql+psycopg://", creator=lambda: _connect(dsn), **options)


def _make_tx_engine(dsn: Secret[str]) -> sa.Engine:
    """Its transactions begin with the clock: both in one message, which each would cost.

    So psycopg begins none by itself, and SQLAlchemy does, by the hook that it has for this.
    """
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(dsn, autocommit=True),
        pool_size=10,
        max_overflow=10,
    )
    sa.event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101  # for the type checker: it is connected
    try:
        cursor = driver.execute("BEGIN; SELECT clock_timestamp()")
    except psycopg.Error as error:
        lost: bool = driver.closed
        if lost:
            connection.invalidate()
        raise sa.exc.OperationalError("BEGIN", None, error, connection_invalidated=lost) from None
    cursor.nextset()
    connection.info["began_at"] = cursor.fetchone()[0]


def _began_at(session: Session) -> datetime:
    at: datetime = session.connection().info["began_at"]
    return at


class Busy(BrokerError):
    """Another process is at the same thing; nothing was done here."""

    type = "busy"


class Database:
    """Opens transactions on the control database. `clock` replaces its clock in tests."""

    def __init__(self, dsn: Secret[str], *, clock: Callable[[], datetime] | None = None) -> None:
        self.engine = _make_tx_engine(dsn)
        # Kept between locks: signing in at the server was most of what a lock cost.
        self._lock_engine = make_engine(
            dsn, pool_size=10, max_overflow=-1, pool_pre_ping=True, isolation_level="AUTOCOMMIT"
        )
        self._dsn = dsn
        self.bell = Bell(self.listen)
        self._clock = clock

    def listen(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A new session with autocommit, of the caller's own."""
        return _connect(self._dsn, autocommit=True)

    @contextlib.contextmanager
    def begin(self, actor: Actor) -> Iterator[Tx]:
        """Commit when the block ends, roll back when it raises."""
        session = self._open()
        with session:  # closing it rolls back what is not committed
            at = self._clock() if self._clock is not None else _began_at(session)
            yield Tx(session, at, actor)
            session.commit()

    def _open(self) -> Session:
        """A session that has begun. A connection that was lost while nobody used it is no fault:
        the first message shows it, and nothing was done by then.
        """
        session = Session(self.engine, expire_on_commit=False)
        try:
            session.connection()
        except sa.exc.DBAPIError as error:
            session.close()
            if not error.connection_invalidated:
                raise
            session = Session(self.engine, expire_on_commit=False)
            session.connection()
        return session

    def now(self, actor: Actor) -> datetime:
        with self.begin(actor) as tx:
            return tx.at

    @contextlib.contextmanager
    def exclusive(self, name: str, *, wait_s: int = 0) -> Iterator[Held]:
        """Hold `name` alone among all processes; raises Busy if another holds it for `wait_s`.

        A session lock on a connection of its own: it ends with this process, however it ends. A
        holder whose connection was lost no longer holds it; long work asks `still_held()`.
        """
        number = _lock_number(name)
        with self._lock_engine.connect() as connection:
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(number))):
                _wait_for(connection, sa.func.pg_advisory_lock(number), name, wait_s)
            unlock = sa.select(sa.func.pg_advisory_unlock(number))
            with _unlocking(connection, lambda: [connection.scalar(unlock)]):
                yield Held(connection)

    @contextlib.contextmanager
    def hold_all(self, names: Collection[str], shared: Collection[str]) -> Iterator[frozenset[str]]:
        """Hold alone those of `names`, and with others those of `shared`, that are free now.

        Yields what is held. Nobody is waited for.
        """
        sought = {_lock_number(n): (n, n in set(shared)) for n in (*names, *shared)}
        with self._lock_engine.connect() as connection:
            asked = {"numbers": list(sought), "shared": [s for _, s in sought.values()]}
            got = connection.scalars(_HOLD, asked).all()
            held = {"numbers": got, "shared": [sought[number][1] for number in got]}
            with _unlocking(connection, lambda: connection.scalars(_LET_GO, held).all()):
                yield frozenset(sought[number][0] for number in got)

    @contextlib.contextmanager
    def shared(self, name: str, *, wait_s: int = 10) -> Iterator[None]:
        """Keep everybody from holding `name` alone; waits for who does. Raises Busy after that."""
        number = _lock_number(name)
        with self._lock_engine.connect() as connection:
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock_shared(number))):
                _wait_for(connection, sa.func.pg_advisory_lock_shared(number), name, wait_s)
            unlock = sa.select(sa.func.pg_advisory_unlock_shared(number))
            with _unlocking(connection, lambda: [connection.scalar(unlock)]):
                yield

    def close(self) -> None:
        self.bell.close()
        self.engine.dispose()
        self._lock_engine.dispose()


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _wait_for(connection: sa.Connection, lock: sa.Function[Any], name: str, wait_s: int) -> None:
    busy = Busy(f"another process is at work on {name}")
    if wait_s <= 0:
        raise busy
    connection.exec_driver_sql(f"SET lock_timeout = '{int(wait_s)}s'")
    try:
        connection.execute(sa.select(lock))
    except sa.exc.OperationalError:
        raise busy from None
    finally:
        _reset(connection)


def _reset(connection: sa.Connection) -> None:
    """The next who gets this connection waits as long as is usual; or nobody gets it."""
    try:
        connection.exec_driver_sql("RESET lock_timeout")
    except sa.exc.DBAPIError:
        connection.invalidate()


# All at once, each of them once: locks are counted.
_HOLD = sa.text(
    "SELECT number FROM unnest(CAST(:numbers AS bigint[]), CAST(:shared AS boolean[]))"
    " AS sought (number, shared) WHERE CASE WHEN shared THEN pg_try_advisory_lock_shared(number)"
    " ELSE pg_try_advisory_lock(number) END"
)
_LET_GO = sa.text(
    "SELECT CASE WHEN shared THEN pg_advisory_unlock_shared(number)"
    " ELSE pg_advisory_unlock(number) END"
    " FROM unnest(CAST(:numbers AS bigint[]), CAST(:shared AS boolean[])) AS held (number, shared)"
)


@contextlib.contextmanager
def _unlocking(
    connection: sa.Connection, let_go: Callable[[], Sequence[bool | None]]
) -> Iterator[None]:
    """Nobody gets a connection that may still hold a lock: it is closed, which lets it go."""
    try:
        yield
    finally:
        try:
            released = all(let_go())
        except sa.exc.DBAPIError:
            released = False
        if not released:
            connection.invalidate()


class Held:
    """A lock that is held as long as its connection lives."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._lost = False  # for good: a connection that came back holds nothing

    def still_held(self) -> bool:
        if not self._lost:
            try:
                self._connection.execute(sa.text("SELECT 1"))
            except sa.exc.DBAPIError:
                self._lost = True
        return not self._lost
