"""Rotation of the keys that sign tokens: the rules, which are pure, and the keyring's part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Invalid
from broker.grants.token_keys import (
    ANNOUNCE,
    OUTLIVE,
    ROTATE,
    Key,
    find_signing,
    is_due,
    list_finished,
    list_published,
)
from broker.grants.tokens import CLOCKS, LIFE
from broker.keys import STATEMENTS_KEY, TOKEN_KEY, KeyErased
from broker.keys.keyring import Keyring

START = datetime(2027, 1, 1, tzinfo=UTC)
KEPT = timedelta(minutes=5)  # for how long verifiers keep the set, as docs/platform-tokens.md says


def rotated(at: datetime, every: timedelta = ROTATE) -> list[Key]:
    """The keys that were made until `at`, one each time it was due."""
    count = (at - START) // every + 1
    return [Key(f"k{n}", b"", START + n * every) for n in range(count)]


@given(st.integers(0, 200 * 86400))
def test_whatever_the_hour_a_token_verifies_until_its_own_end(second: int) -> None:
    """The key that signs now was in the set that a verifier read up to KEPT ago, and is in every
    set until the token's end, by a clock that is behind.
    """
    at = START + timedelta(days=1, seconds=second)
    signing = find_signing(rotated(at), at)
    assert signing is not None
    for step in range(-int(KEPT.total_seconds()), int((LIFE + CLOCKS).total_seconds()) + 1, 30):
        then = at + timedelta(seconds=step)
        assert signing in list_published(rotated(then), then)


def test_the_first_key_signs_at_once_and_the_next_only_when_announced() -> None:
    first, second = rotated(START + ROTATE)
    assert find_signing([first], START) == first
    assert find_signing([first, second], START + ROTATE) == first
    assert find_signing([first, second], START + ROTATE + ANNOUNCE) == second


def test_a_key_is_due_where_there_is_none_and_when_the_newest_is_old() -> None:
    (first,) = rotated(START)
    assert is_due([], START)
    assert not is_due([first], START + ROTATE - timedelta(seconds=1))
    assert is_due([first], START + ROTATE)


def test_a_key_is_finished_once_the_next_has_signed_for_longer_than_a_token_lives() -> None:
    keys = rotated(START + ROTATE)
    over = START + ROTATE + ANNOUNCE + OUTLIVE
    assert list_finished(keys, over - timedelta(seconds=1)) == []
    assert list_finished(keys, over) == keys[:1]
    assert OUTLIVE > LIFE + CLOCKS


def test_a_withdrawn_key_neither_signs_nor_verifies_and_another_is_due() -> None:
    withdrawn = Key("k0", b"", START, withdrawn_at=START)
    assert find_signing([withdrawn], START) is None
    assert list_published([withdrawn], START) == []
    assert is_due([withdrawn], START)


def test_the_keyring_makes_signs_and_erases_such_keys_and_no_others(tmp_path: Path) -> None:
    keyring = Keyring.create_folder(tmp_path / "keyring")
    public = keyring.create_signing(TOKEN_KEY + "one")
    assert keyring.create_signing(TOKEN_KEY + "one") == public == keyring.public(TOKEN_KEY + "one")
    seed = (tmp_path / "keyring" / "signing" / "token.one.key").read_bytes()
    keyring.erase_signing(TOKEN_KEY + "one")
    (tmp_path / "keyring" / "signing" / "token.one.key").write_bytes(seed)  # a backup put it back
    (tmp_path / "keyring" / "signing" / "token.one.key").chmod(0o600)
    for use in (
        lambda: keyring.sign(TOKEN_KEY + "one", b"x"),
        lambda: keyring.create_signing(TOKEN_KEY + "one"),
    ):
        with pytest.raises(KeyErased):
            use()
    for change in (keyring.create_signing, keyring.erase_signing):
        with pytest.raises(Invalid):
            change(STATEMENTS_KEY)
