"""A vendor's control database, without servers: rights are about what it holds."""

from __future__ import annotations

from tests.verify.conftest import vendor

__all__ = ["vendor"]
