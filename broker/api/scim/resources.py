"""A person as a SCIM User, and what a directory's User, or its PATCH, wishes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.directories.provisioning import Entry, Wished
from broker.errors import Invalid
from broker.people import TENANT_ROLES

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_MOST_OPERATIONS = 50


class ScimError(Invalid):
    """An error with a word of RFC 7644, section 3.12."""

    type = "scim-invalid"

    def __init__(self, message: str, scim_type: str) -> None:
        super().__init__(message)
        self.scim_type = scim_type


def show(entry: Entry, base: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "schemas": [USER],
        "id": entry.person_id,
        "userName": entry.email,
        "displayName": entry.name,
        "name": {"formatted": entry.name},
        "active": entry.active,
        "emails": [{"value": entry.email, "primary": True}],
        "roles": [{"value": role} for role in entry.roles],
        "meta": {
            "resourceType": "User",
            "created": entry.created_at.isoformat(),
            "lastModified": entry.changed_at.isoformat(),
            "location": f"{base}/Users/{entry.person_id}",
        },
    }
    if entry.external_id is not None:
        shown["externalId"] = entry.external_id
    return shown


def read_new(body: Mapping[str, Any]) -> tuple[str, Wished]:
    """The address and the rest. Raises ScimError."""
    email = _text(body.get("userName"), "userName")
    return email, _read(body)


def read_whole(body: Mapping[str, Any], entry: Entry) -> Wished:
    """PUT: what is not said of `active` stays. Raises ScimError."""
    _check_address(body.get("userName", entry.email), entry)
    return _read(body)


def read_patch(body: Mapping[str, Any], entry: Entry) -> Wished:
    """RFC 7644, section 3.5.2; attributes that are not ours are let be. Raises ScimError."""
    operations = _lower(body).get("operations")
    if not isinstance(operations, list) or not 1 <= len(operations) <= _MOST_OPERATIONS:
        raise ScimError("`Operations` is a list of 1 to 50", "invalidSyntax")
    wished = Wished()
    for one in operations:
        if not isinstance(one, dict):
            raise ScimError("an operation is an object", "invalidSyntax")
        wished = _apply(wished, _lower(one), entry)
    return wished


def _apply(wished: Wished, one: Mapping[str, Any], entry: Entry) -> Wished:
    verb, path, value = str(one.get("op", "")).lower(), one.get("path"), one.get("value")
    if verb not in {"add", "replace", "remove"}:
        raise ScimError("`op` is add, replace or remove", "invalidSyntax")
    if verb == "remove":
        _check_removable(str(path or ""))
        return wished
    if path is None:
        if not isinstance(value, dict):
            raise ScimError("without `path`, `value` is an object", "invalidValue")
        said = value
    else:
        said = _nested(str(path).removeprefix(f"{USER}:"), value)
    _check_address(_lower(said).get("username", entry.email), entry)
    found = _read(said)
    given = {
        name: getattr(found, name)
        for name in ("name", "external_id", "active", "roles")
        if getattr(found, name) is not None
    }
    return replace(wished, **given)


def _check_removable(path: str) -> None:
    if path.lower() in {"username", "active", "id"} or not path:
        raise ScimError(f"{path or 'no path'}: can't be removed", "mutability")


def _nested(path: str, value: Any) -> dict[str, Any]:
    """`name.formatted` as it would stand in a User."""
    first, _, rest = path.partition(".")
    return {first: {rest: value}} if rest else {first: value}


def _read(body: Mapping[str, Any]) -> Wished:
    said = _lower(body)
    return Wished(
        name=_read_name(said),
        external_id=_text(said["externalid"], "externalId") if said.get("externalid") else None,
        active=_truth(said["active"]) if "active" in said else None,
        roles=_read_roles(said["roles"]) if said.get("roles") else None,
    )


def _read_name(said: Mapping[str, Any]) -> str | None:
    """What is shown: `displayName`, else the name, whole or of its parts."""
    if said.get("displayname"):
        return _text(said["displayname"], "displayName")
    name = said.get("name")
    if not isinstance(name, dict):
        return None
    parts = _lower(name)
    if parts.get("formatted"):
        return _text(parts["formatted"], "name.formatted")
    both = [str(parts[one]) for one in ("givenname", "familyname") if parts.get(one)]
    return _text(" ".join(both), "name") if len(both) == 2 else None


def _read_roles(found: Any) -> tuple[str, ...]:
    items: Sequence[Any] = found if isinstance(found, list) else [found]
    values = [one.get("value") if isinstance(one, dict) else one for one in items]
    if any(one not in TENANT_ROLES for one in values):
        raise ScimError(f"a role is one of {', '.join(TENANT_ROLES)}", "invalidValue")
    return tuple(sorted(set(map(str, values))))


def _truth(found: Any) -> bool:
    """Some directories send it as a text."""
    if isinstance(found, str) and found.lower() in {"true", "false"}:
        return found.lower() == "true"
    if not isinstance(found, bool):
        raise ScimError("`active` is true or false", "invalidValue")
    return found


def _check_address(said: Any, entry: Entry) -> None:
    """It is how the account signs in, perhaps at others too; a directory does not move it."""
    if not isinstance(said, str) or said.strip().lower() != entry.email.lower():
        raise ScimError("userName can't be changed; make another User", "mutability")


def _text(found: Any, name: str) -> str:
    if not isinstance(found, str) or not 1 <= len(found.strip()) <= 200 or not found.isprintable():
        raise ScimError(f"{name} is a text of 1 to 200 characters", "invalidValue")
    return found.strip()


def _lower(said: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7643, section 2.1: names of attributes know no capitals."""
    return {str(name).lower(): value for name, value in said.items()}
