"""A vendor's control database, without servers: retention is about what it holds."""

from __future__ import annotations

from tests.verify.conftest import vendor

__all__ = ["vendor"]
