"""What every key port keeps, whatever holds copies' keys (`broker.keys`).

A device by PKCS#11 is SoftHSM; AWS KMS is moto's server, never AWS itself.
"""

from __future__ import annotations

import pytest

from broker.errors import Conflict, Invalid, NotFound, VerificationFailed
from broker.keys import LOG_KEY, KeyErased, KeyHeld, KeyState, Sealer, Signer
from broker.secret import Secret
from tests.keys.conftest import OpenKeys

NAME = "snapshot/snp_" + "a" * 26
SECRET = Secret(b"a data key")


@pytest.fixture(
    params=[
        "in_keyring",
        "in_openbao",
        pytest.param("in_device", marks=pytest.mark.system),
        pytest.param("in_kms", marks=pytest.mark.system),
    ]
)
def open_keys(request: pytest.FixtureRequest) -> OpenKeys:
    made: OpenKeys = request.getfixturevalue(request.param)
    return made


def test_it_has_both_faces(open_keys: OpenKeys) -> None:
    sealer: Sealer = open_keys()
    signer: Signer = open_keys()
    assert len(sealer.label_key().reveal()) == 32
    assert len(signer.public(LOG_KEY)) == 32


def test_what_was_wrapped_is_unwrapped_also_by_another_process(open_keys: OpenKeys) -> None:
    keys = open_keys()
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"here")
    keys.create(NAME)  # changes nothing
    assert SECRET.reveal() not in wrapped
    assert keys.wrap(NAME, SECRET, b"here") != wrapped
    assert open_keys().unwrap(NAME, wrapped, b"here") == SECRET


def test_another_context_key_or_byte_does_not_unwrap(open_keys: OpenKeys) -> None:
    keys = open_keys()
    keys.create(NAME)
    keys.create("other")
    wrapped = keys.wrap(NAME, SECRET, b"here")
    middle = len(wrapped) // 2
    flipped = wrapped[:middle] + bytes([wrapped[middle] ^ 1]) + wrapped[middle + 1 :]
    for form in (flipped, wrapped[:-3], wrapped[:5], b"", b"\xff", wrapped + b"\0"):
        with pytest.raises(VerificationFailed):
            keys.unwrap(NAME, form, b"here")
    with pytest.raises(VerificationFailed):
        keys.unwrap(NAME, wrapped, b"there")
    with pytest.raises(VerificationFailed):
        keys.unwrap("other", wrapped, b"here")


def test_an_erased_key_is_gone_for_ever(open_keys: OpenKeys) -> None:
    """G6: asked afresh, by listing and by a decryption that must be refused."""
    keys = open_keys()
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    assert (keys.find_state(NAME), keys.list_names("snapshot/")) == (KeyState.LIVE, [NAME])
    keys.erase(NAME)
    keys.erase(NAME)
    for one in (keys, open_keys()):
        assert (one.find_state(NAME), one.list_names("")) == (KeyState.ERASED, [])
        with pytest.raises(KeyErased):
            one.unwrap(NAME, wrapped, b"")
        with pytest.raises(KeyErased):
            one.wrap(NAME, SECRET, b"")
        with pytest.raises(KeyErased):
            one.create(NAME)


def test_a_name_can_be_erased_before_it_was_ever_made(open_keys: OpenKeys) -> None:
    keys = open_keys()
    keys.erase(NAME)
    assert keys.find_state(NAME) is KeyState.ERASED
    with pytest.raises(KeyErased):
        keys.create(NAME)


def test_a_held_key_opens_nothing_and_can_be_erased(open_keys: OpenKeys) -> None:
    keys = open_keys()
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    keys.hold(NAME)
    keys.hold(NAME)
    with pytest.raises(KeyHeld):
        open_keys().unwrap(NAME, wrapped, b"")
    keys.erase(NAME)
    assert keys.find_state(NAME) is KeyState.ERASED


def test_a_key_that_was_never_made_is_not_found(open_keys: OpenKeys) -> None:
    keys = open_keys()
    keys.create("other")
    wrapped = keys.wrap("other", SECRET, b"")
    assert keys.find_state(NAME) is KeyState.ABSENT
    with pytest.raises(NotFound):
        keys.wrap(NAME, SECRET, b"")
    with pytest.raises(NotFound):
        keys.unwrap(NAME, wrapped, b"")


def test_names_are_listed_by_prefix_and_keep_their_slashes(open_keys: OpenKeys) -> None:
    keys = open_keys()
    for name in ("logins", "snapshot/b", "snapshot/a", "snapshot-x"):
        keys.create(name)
    assert keys.list_names("snapshot/") == ["snapshot/a", "snapshot/b"]
    assert keys.list_names("") == ["logins", "snapshot-x", "snapshot/a", "snapshot/b"]


def test_what_can_be_no_name_is_refused(open_keys: OpenKeys) -> None:
    keys = open_keys()
    for name in ("", "/", "a/", "/a", "a//b", "..", "../a", "a.b", "A", "a\n", "é", "a" * 201):
        for call in (keys.create, keys.erase, keys.find_state):
            with pytest.raises(Invalid):
                call(name)


def test_a_mark_and_a_head_move_only_from_the_last(open_keys: OpenKeys) -> None:
    keys = open_keys()
    keys.swap_mark(None, b"1")
    keys.swap_head("log.example/a", None, b"1")
    with pytest.raises(Conflict):
        keys.swap_mark(None, b"2")
    with pytest.raises(Conflict):
        keys.swap_head("log.example/a", None, b"2")
    assert (open_keys().find_mark(), open_keys().find_head("log.example/a")) == (b"1", b"1")
