"""The state machine of snapshots. Condemned is one-way (G7).

    ordered ─▶ copying ─▶ ready ─▶ condemned ─▶ destroyed      any ─▶ condemned; no way back

    remnant   condemned ─▶ destroyed      what was found of a destroyed copy; its state stays

    hold      asked ─▶ in_force ─▶ over      asked ─▶ refused | over

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
HOLD_BEGIN = Move(("asked",), "in_force", "hold.begun")
HOLD_REFUSE = Move(("asked",), "refused", "hold.refused")
HOLD_END = Move(("asked", "in_force"), "over", "hold.ended")
REMNANT_DESTROYED = Move(("condemned",), "destroyed", "remnant.destroyed")
