"""What this service is able to do (RFC 7643, sections 5 to 7): data."""

from __future__ import annotations

from typing import Any

from broker.api.scim.resources import USER

_NO = {"supported": False}
CONFIG: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {**_NO, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": 200},
    "changePassword": _NO,
    "sort": _NO,
    "etag": _NO,
    "authenticationSchemes": [
        {
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "the token of a directory, shown once when it was registered",
            "primary": True,
        }
    ],
}
USER_TYPE: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
    "id": "User",
    "name": "User",
    "endpoint": "/Users",
    "schema": USER,
}


def _attribute(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "string",
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **more,
    }


_VALUE = [_attribute("value")]
USER_SCHEMA: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
    "id": USER,
    "name": "User",
    "description": "a person of the organisation",
    "attributes": [
        _attribute("userName", required=True, mutability="immutable", uniqueness="server"),
        _attribute("displayName"),
        _attribute("externalId", caseExact=True, uniqueness="server"),
        _attribute("active", type="boolean"),
        _attribute("name", type="complex", subAttributes=[_attribute("formatted")]),
        _attribute(
            "emails", type="complex", multiValued=True, mutability="readOnly", subAttributes=_VALUE
        ),
        _attribute("roles", type="complex", multiValued=True, subAttributes=_VALUE),
    ],
}


def listed(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": len(resources),
        "startIndex": 1,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }
