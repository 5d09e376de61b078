"""The two roles of a sandbox, by name: what a login on it inherits tells what it may do.

sab_u_<copy>    `use`: reads and changes rows, owns nothing
sab_o_<copy>    `develop`: the throw-away owner of every object in it, and of nothing else
"""

from __future__ import annotations

_OWNER, _USER = "sab_o_", "sab_u_"


def owner_role_of(snapshot_id: str) -> str:
    return f"{_OWNER}{snapshot_id[4:]}"


def use_role_of(snapshot_id: str) -> str:
    return f"{_USER}{snapshot_id[4:]}"


def is_owner_role(role: str) -> bool:
    return role.startswith(_OWNER)
