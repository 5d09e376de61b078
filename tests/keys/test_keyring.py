"""The keyring: erased is for ever, private is private, and a restored backup signs no fork."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.errors import BrokerError, Conflict, Invalid, VerificationFailed
from broker.keys import (
    LOG_KEY,
    STATEMENTS_KEY,
    KeyErased,
    KeyState,
    KeyUnavailable,
)
from broker.keys.keyring import Keyring
from broker.secret import Secret

NAME = "snapshot/snp_" + "a" * 26
FILE = f"wrapping/{NAME.replace('/', '.')}.key"
SECRET = Secret(b"a data key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keyring"


@pytest.fixture
def keyring(folder: Path) -> Keyring:
    return Keyring.create_folder(folder)


def test_a_turned_key_signs_no_more_and_is_remembered(keyring: Keyring, folder: Path) -> None:
    assert keyring.list_former(STATEMENTS_KEY) == []
    first, log = keyring.public(STATEMENTS_KEY), keyring.public(LOG_KEY)
    second = keyring.turn_statements()
    third = Keyring(folder).turn_statements()
    assert len({first, second, third}) == 3
    assert keyring.public(STATEMENTS_KEY) == third
    assert sorted(keyring.list_former(STATEMENTS_KEY)) == sorted([first, second])
    assert (keyring.public(LOG_KEY), keyring.list_former(LOG_KEY)) == (log, [])


def test_the_key_of_logs_turns_to_the_one_that_was_introduced(
    keyring: Keyring, folder: Path
) -> None:
    with pytest.raises(Conflict, match="introduce one first"):
        keyring.turn(LOG_KEY)
    assert keyring.find_next(LOG_KEY) is None
    first, second = keyring.public(LOG_KEY), keyring.introduce(LOG_KEY)
    assert Keyring(folder).introduce(LOG_KEY) == second == keyring.find_next(LOG_KEY)
    signature = keyring.sign_next(LOG_KEY, b"both")
    Ed25519PublicKey.from_public_bytes(second).verify(signature, b"both")
    assert keyring.turn(LOG_KEY) == second == keyring.public(LOG_KEY)
    assert (keyring.list_former(LOG_KEY), keyring.find_next(LOG_KEY)) == ([first], None)
    third = keyring.introduce(LOG_KEY)
    assert keyring.turn(LOG_KEY, compromised=True) == third
    assert keyring.list_former(LOG_KEY) == [first]
    with pytest.raises(Invalid):
        keyring.introduce("token/x")


def test_a_turn_that_was_cut_off_is_finished_by_the_next(keyring: Keyring, folder: Path) -> None:
    first, second = keyring.public(LOG_KEY), keyring.introduce(LOG_KEY)
    (folder / "former").mkdir(mode=0o700)
    (folder / "former" / f"log.{first.hex()}").write_bytes(first)
    (folder / "former" / f"log.{first.hex()}").chmod(0o600)
    (folder / "signing" / "log.key").write_bytes((folder / "signing" / "log.next").read_bytes())
    assert keyring.find_next(LOG_KEY) is None
    assert keyring.turn(LOG_KEY) == second
    assert keyring.list_former(LOG_KEY) == [first]


def test_another_context_key_or_byte_does_not_unwrap(keyring: Keyring) -> None:
    keyring.create(NAME)
    keyring.create("other")
    wrapped = keyring.wrap(NAME, SECRET, b"here")
    changed = [
        wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :] for i in (0, 1, 13, -1 % 30)
    ]
    for form in (*changed, wrapped[:-1], wrapped[:5], b"", wrapped + b"\0"):
        with pytest.raises(VerificationFailed):
            keyring.unwrap(NAME, form, b"here")
    with pytest.raises(VerificationFailed):
        keyring.unwrap(NAME, wrapped, b"there")
    with pytest.raises(VerificationFailed):
        keyring.unwrap("other", wrapped, b"here")


def test_the_bytes_of_an_erased_key_are_overwritten_in_place(
    keyring: Keyring, folder: Path
) -> None:
    keyring.create(NAME)
    before = (folder / FILE).read_bytes()
    os.link(folder / FILE, folder / "seen")
    keyring.erase(NAME)
    assert not (folder / FILE).exists()
    assert (folder / "seen").read_bytes() != before


def test_a_key_file_put_back_from_a_backup_stays_unusable_and_is_seen(
    keyring: Keyring, folder: Path
) -> None:
    """G6: the tombstone outranks the file; the listing shows it, and erasing again removes it."""
    keyring.create(NAME)
    wrapped = keyring.wrap(NAME, SECRET, b"")
    backup = (folder / FILE).read_bytes()
    keyring.erase(NAME)
    (folder / FILE).write_bytes(backup)
    (folder / FILE).chmod(0o600)
    assert keyring.find_state(NAME) is KeyState.ERASED
    with pytest.raises(KeyErased):
        keyring.unwrap(NAME, wrapped, b"")
    assert keyring.list_names("snapshot/") == [NAME]
    keyring.erase(NAME)
    assert keyring.list_names("snapshot/") == []
    assert not (folder / FILE).exists()


def test_an_erasure_cut_short_after_the_tombstone_is_finished_by_the_next(
    keyring: Keyring, folder: Path
) -> None:
    keyring.create(NAME)
    wrapped = keyring.wrap(NAME, SECRET, b"")
    (folder / FILE).rename(folder / "aside")  # a folder in its place can't be overwritten
    (folder / FILE).mkdir()
    with pytest.raises(KeyUnavailable):
        keyring.erase(NAME)
    (folder / FILE).rmdir()
    (folder / "aside").rename(folder / FILE)
    with pytest.raises(KeyErased):
        keyring.unwrap(NAME, wrapped, b"")
    keyring.erase(NAME)
    assert not (folder / FILE).exists()


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "a//b", "..", "../a", "a.b", "A", "a\n", "a\0", "é", "a" * 201]
)
def test_a_name_that_could_leave_the_folder_is_refused(keyring: Keyring, name: str) -> None:
    for call in (keyring.create, keyring.erase, keyring.find_state):
        with pytest.raises(Invalid):
            call(name)


def test_a_keyring_that_others_can_read_is_refused(keyring: Keyring, folder: Path) -> None:
    keyring.create(NAME)
    wrapped = keyring.wrap(NAME, SECRET, b"")
    folder.chmod(0o750)
    with pytest.raises(KeyUnavailable, match="chmod"):
        keyring.unwrap(NAME, wrapped, b"")
    with pytest.raises(KeyUnavailable, match="chmod"):
        Keyring(folder)
    folder.chmod(0o700)
    (folder / FILE).chmod(0o640)
    with pytest.raises(KeyUnavailable, match="chmod"):
        keyring.unwrap(NAME, wrapped, b"")
    (folder / FILE).chmod(0o600)
    assert keyring.unwrap(NAME, wrapped, b"") == SECRET


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_keyring_of_somebody_else_is_refused(keyring: Keyring, folder: Path) -> None:
    os.chown(folder / "labels.key", 65534, 65534)
    with pytest.raises(KeyUnavailable, match="belongs to user 65534"):
        keyring.label_key()


def test_everything_in_a_keyring_is_private(keyring: Keyring, folder: Path) -> None:
    keyring.create(NAME)
    keyring.erase("gone")
    keyring.swap_head("a", None, b"1")
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_link_in_place_of_a_key_is_refused(keyring: Keyring, folder: Path) -> None:
    (folder / FILE).symlink_to(folder / "labels.key")
    with pytest.raises(KeyUnavailable):
        keyring.wrap(NAME, SECRET, b"")


def test_a_damaged_key_is_not_used(keyring: Keyring, folder: Path) -> None:
    keyring.create(NAME)
    (folder / FILE).write_bytes(b"short")
    with pytest.raises(KeyUnavailable, match="damaged"):
        keyring.wrap(NAME, SECRET, b"")


def test_a_keyring_that_is_not_there_says_nothing_of_its_keys(
    keyring: Keyring, folder: Path, tmp_path: Path
) -> None:
    """An unmounted volume must never look like keys that were never made, or are gone."""
    keyring.create(NAME)
    folder.rename(tmp_path / "elsewhere")
    folder.mkdir(mode=0o700)
    for look in (
        lambda: keyring.find_state(NAME),
        lambda: keyring.list_names(""),
        lambda: keyring.erase(NAME),
        lambda: keyring.find_head("a"),
        lambda: Keyring(folder),
    ):
        with pytest.raises(KeyUnavailable):
            look()


def test_a_keyring_is_never_made_over_another(keyring: Keyring, folder: Path) -> None:
    public = keyring.public(LOG_KEY)
    with pytest.raises(Conflict):
        Keyring.create_folder(folder)
    assert keyring.public(LOG_KEY) == public


def test_signatures_verify_under_their_own_purpose_only(keyring: Keyring) -> None:
    signature = keyring.sign(LOG_KEY, b"checkpoint")
    Ed25519PublicKey.from_public_bytes(keyring.public(LOG_KEY)).verify(signature, b"checkpoint")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(keyring.public(STATEMENTS_KEY)).verify(
            signature, b"checkpoint"
        )
    with pytest.raises(Invalid):
        keyring.sign("../labels", b"")


def test_a_head_moves_only_from_the_last_one(keyring: Keyring, folder: Path) -> None:
    assert keyring.find_head("log.example/a") is None
    with pytest.raises(Conflict):
        keyring.swap_head("log.example/a", b"1", b"2")
    keyring.swap_head("log.example/a", None, b"1")
    with pytest.raises(Conflict):
        keyring.swap_head("log.example/a", None, b"other")
    keyring.swap_head("log.example/a", b"1", b"2")
    assert Keyring(folder).find_head("log.example/a") == b"2"
    assert keyring.find_head("log.example/b") is None


def test_nothing_shows_a_key(keyring: Keyring, folder: Path) -> None:
    """G11: neither a repr, nor an error, nor what a debugger prints of the object's fields."""
    keyring.create(NAME)
    keys = [path.read_bytes() for path in folder.rglob("*.key")]
    shown = [repr(keyring), repr(vars(keyring)), repr(keyring.label_key())]
    try:
        keyring.unwrap(NAME, b"\x01" + bytes(40), b"")
    except BrokerError as error:
        shown.append(repr(error) + repr(error.facts))
    assert not any(repr(key)[2:-1] in text or key.hex() in text for key in keys for text in shown)


def _count_up(folder: Path, rounds: int) -> int:
    """Add one to a counter kept in a head, and count how often another process was first."""
    keyring, lost = Keyring(folder), 0
    for _ in range(rounds):
        while True:
            old = keyring.find_head("counter")
            try:
                keyring.swap_head("counter", old, str(int(old or b"0") + 1).encode())
            except Conflict:
                lost += 1
            else:
                break
    return lost


def _make_and_wrap(folder: Path, name: str) -> bytes:
    keyring = Keyring(folder)
    keyring.create(name)
    return keyring.wrap(name, SECRET, b"")


def test_processes_that_swap_a_head_at_once_lose_no_step(keyring: Keyring, folder: Path) -> None:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_count_up, [folder] * 4, [25] * 4))
    assert keyring.find_head("counter") == b"100"


def test_processes_that_make_one_key_at_once_agree_on_it(keyring: Keyring, folder: Path) -> None:
    names = [
        f"snapshot/{hashlib.sha256(bytes([n])).hexdigest()}" for n in range(20) for _ in "abcd"
    ]
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        wrapped = list(pool.map(_make_and_wrap, [folder] * len(names), names))
    for name, form in zip(names, wrapped, strict=True):
        assert keyring.unwrap(name, form, b"") == SECRET
