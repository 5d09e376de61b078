"""The places of a copy on its test server: made with their labels, before anything is in them.

A copy and a reset make the same places under the same names, and shut them in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from broker.engines import Target
from broker.engines.lines import Lines
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.scram import make_verifier, new_password
from broker.faults import crash_point
from broker.labels import Label
from broker.secret import Secret
from broker.snapshots.artifacts import put_label
from broker.snapshots.dedicated import Dedicated
from broker.snapshots.model import Snapshot
from broker.stores import Store

_LOAD_MAX = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Places:
    """`server` is the test server with the broker's own login there; `own` where it is this copy's
    alone.
    """

    snapshot: Snapshot
    server: Target
    label_key: Secret[bytes]
    own: Dedicated | None = None

    def through(self, lines: Lines) -> Places:
        """The same, whose sessions can be cut off."""
        return replace(self, server=replace(self.server, lines=lines))

    def _label(self, kind: str, place: str) -> str:
        return Label(kind, self.snapshot.id, self.snapshot.ends_at, place).text(self.label_key)

    def label_artifact(self, store: Store) -> None:
        put_label(store, self.snapshot.prefix, self._label("artifact", self.snapshot.prefix))

    def make_sandbox(self, encoding: str) -> None:
        """An empty database, its owner, and the role whose rights its leases inherit."""
        snapshot = self.snapshot
        sandbox.create_sandbox(
            self.server,
            sandbox.NewSandbox(
                name=snapshot.sandbox,
                label=self._label("sandbox", snapshot.sandbox),
                owner=snapshot.owner_role,
                owner_label=self._label("sandbox", snapshot.owner_role),
                encoding=encoding,
            ),
        )
        use_label = self._label("sandbox", snapshot.use_role)
        sandbox.create_role(self.server, snapshot.use_role, use_label)
        crash_point("sandbox-made")

    def open_owner(self) -> Target:
        """The throw-away owner may log in only while this load runs; its password is only here."""
        password, role = new_password(), self.snapshot.owner_role
        until = min(self.snapshot.ends_at, datetime.now(UTC) + _LOAD_MAX)
        sandbox.open_owner(self.server, role, make_verifier(password), until)
        return replace(self.server, dbname=self.snapshot.sandbox, user=role, password=password)

    def close_owner(self) -> None:
        sandbox.close_owner(self.server, self.snapshot.owner_role)

    def let_leases_in(self) -> None:
        sandbox.grant_connect(self.server, self.snapshot.sandbox, self.snapshot.use_role)

    def clear(self) -> None:
        """Whatever an earlier try made; of a server of its own, the whole of it."""
        if self.own is not None:
            self.own.destroy()
        else:
            self.drop_sandbox()

    def drop_sandbox(self) -> None:
        """Also a half-made one; idempotent."""
        snapshot = self.snapshot
        roles = [snapshot.owner_role, snapshot.use_role]
        sandbox.drop_sandbox(self.server, snapshot.sandbox, roles)
