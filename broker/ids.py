"""Opaque ids: a prefix that says what it is, and 128 random bits (base32, lower case).

They carry no time and no order, so that nobody can count or guess another's (G12).
"""

from __future__ import annotations

import base64
import re
import secrets
from typing import NewType

TenantId = NewType("TenantId", str)  # tnt_
PersonId = NewType("PersonId", str)  # psn_
TokenId = NewType("TokenId", str)  # tok_
TicketId = NewType("TicketId", str)  # tkt_
DatabaseId = NewType("DatabaseId", str)  # dbs_  a tenant's registered live database
ServerId = NewType("ServerId", str)  # srv_  an internal test server
PlatformId = NewType("PlatformId", str)  # plt_  a SaaS application that trusts our tokens
StorageId = NewType("StorageId", str)  # sto_  objects of a tenant in a bucket
GrantId = NewType("GrantId", str)  # grt_
LeaseId = NewType("LeaseId", str)  # lse_
StandingId = NewType("StandingId", str)  # sta_  a standing approval
ReviewId = NewType("ReviewId", str)  # rev_  a review that is owed after break-glass
SnapshotId = NewType("SnapshotId", str)  # snp_
RemnantId = NewType("RemnantId", str)  # rmn_  what was found of a destroyed snapshot
CertificateId = NewType("CertificateId", str)  # crt_
ProviderId = NewType("ProviderId", str)  # idp_  where an organisation's people sign in
LogId = NewType("LogId", str)  # log_

PREFIXES = (
    *("tnt", "psn", "tok", "ses", "pky", "inv", "tkt", "dbs", "srv", "plt", "sto"),
    *("grt", "sta", "dec", "lse", "snp", "rmn", "crt", "log", "qrt", "gls", "drl", "hld", "dlg"),
    *(
        "rev",
        "cns",
        "rgt",
        "dcl",
        "rcp",
        "hnd",
        "ord",
        "brc",
        "idp",
        "sso",
        "bkp",
        "bkr",
        "bks",
        "dep",
        "dir",
        "whk",
        "whd",
    ),
)
_SHAPE = re.compile(r"\A(?:" + "|".join(PREFIXES) + r")_[a-z2-7]{26}\Z")


def new_id(prefix: str) -> str:
    """Return e.g. `grt_` and 26 characters of base32: 128 bits from the system's generator."""
    if prefix not in PREFIXES:
        msg = f"unknown id prefix {prefix!r}"
        raise ValueError(msg)
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(16)).decode().rstrip('=').lower()}"


def is_id(text: str, prefix: str) -> bool:
    return bool(_SHAPE.match(text)) and text.startswith(prefix + "_")
