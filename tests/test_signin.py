"""What a stolen table of passwords would have to be paid for with."""

from __future__ import annotations

import argon2

from broker import signin


def test_a_password_costs_what_rfc_9106_recommends_where_memory_is_scarce() -> None:
    """Of the hash that an unknown address is measured by: it is made as every other one."""
    found = argon2.extract_parameters(signin._DUMMY)
    assert found == argon2.profiles.RFC_9106_LOW_MEMORY
