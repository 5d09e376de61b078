"""The state machine of snapshots. Condemned is one-way (G7).

    ordered ─▶ copying ─▶ ready ─▶ condemned ─▶ destroyed      any ─▶ condemned; no way back

    remnant   condemned ─▶ destroyed      what was found of a destroyed copy; its state stays

`stuck` is no state: attempts and a reason stand on the row, and the sweep goes on for ever.
"""

from __future__ import annotations

from broker.states import Move

COPYING = Move(("ordered",), "copying", "snapshot.copying")
READY = Move(("copying",), "ready", "snapshot.ready")
CONDEMN = Move(("ordered", "copying", "ready"), "condemned", "snapshot.condemned")
DESTROYED = Move(("condemned",), "destroyed", "snapshot.destroyed")
ALIVE = ("ordered", "copying", "ready")
NOT_DESTROYED = (*ALIVE, "condemned")
REMNANT_DESTROYED = Move(("condemned",), "destroyed", "remnant.destroyed")
