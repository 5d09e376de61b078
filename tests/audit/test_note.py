"""Signed notes: one spelling, and never a text without a good signature."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.note import (
    Checkpoint,
    VerifierKey,
    checkpoint_text,
    open_note,
    parse_checkpoint,
    sign_note,
    signature_line,
)
from broker.entries import encode_base64
from broker.errors import VerificationFailed
from tests.audit.signing import SigningKey

# The published vector of Go's golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpR"
    "Zb6KE6RyyBwJnAM=\n"
)
ORIGIN = "broker.example/log/log_a"
KEY = SigningKey(ORIGIN)
OTHER = SigningKey(ORIGIN)
ROOT = hashlib.sha256(b"root").digest()
TEXT = checkpoint_text(Checkpoint(ORIGIN, 7, ROOT))
NOTE = KEY.checkpoint(7, ROOT)


def test_a_note_made_by_another_implementation_opens() -> None:
    key = VerifierKey.parse(GO_KEY)
    text, signers = open_note(GO_NOTE, [key])
    assert text == GO_NOTE.partition("\n\n")[0] + "\n"
    assert signers == (key,)
    assert key.format() == GO_KEY
    assert key.fingerprint() == hashlib.sha256(GO_KEY.encode()).hexdigest()


def test_every_changed_byte_of_a_note_is_refused() -> None:
    data = NOTE.encode()
    for place in range(len(data)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= bit
            note = changed.decode(errors="surrogateescape")
            with pytest.raises(VerificationFailed):
                open_note(note, [KEY.verifier])


def test_every_changed_character_of_a_verifier_key_is_refused() -> None:
    for place in range(len(GO_KEY)):
        with pytest.raises(VerificationFailed):
            VerifierKey.parse(GO_KEY[:place] + chr(ord(GO_KEY[place]) + 1) + GO_KEY[place + 1 :])
        with pytest.raises(VerificationFailed):
            VerifierKey.parse(GO_KEY[:place])


def test_a_key_of_another_algorithm_or_name_is_refused() -> None:
    for encoded in (b"\2" + KEY.public, b"\1" + KEY.public + b"\0", b"\1"):
        digest = hashlib.sha256(b"name\n" + encoded).hexdigest()[:8]
        with pytest.raises(VerificationFailed):
            VerifierKey.parse(f"name+{digest}+{encode_base64(encoded)}")
    for name in ("", "two words", "a+b", "a\tb", "a\u2003b", "a\nb", "a\u202eb"):
        with pytest.raises(VerificationFailed):
            VerifierKey(name, KEY.public)


def test_signatures_by_strangers_are_passed_over() -> None:
    """So that a key changes with an overlap: readers with either key open the note."""
    note = NOTE + signature_line(TEXT, ORIGIN, OTHER.public, OTHER.sign)
    assert open_note(note, [KEY.verifier]) == (TEXT, (KEY.verifier,))
    assert open_note(note, [OTHER.verifier]) == (TEXT, (OTHER.verifier,))
    assert open_note(note, [OTHER.verifier, KEY.verifier])[1] == (KEY.verifier, OTHER.verifier)


def test_one_bad_signature_by_a_known_key_refuses_the_note() -> None:
    bad = f"— {ORIGIN} {encode_base64(OTHER.verifier.id + bytes(64))}\n"
    assert open_note(NOTE + bad, [KEY.verifier])
    with pytest.raises(VerificationFailed, match="does not hold"):
        open_note(NOTE + bad, [KEY.verifier, OTHER.verifier])


def test_a_note_that_no_given_key_signed_is_refused() -> None:
    for keys in ([], [OTHER.verifier], [VerifierKey("another.example", KEY.public)]):
        with pytest.raises(VerificationFailed, match="no given key"):
            open_note(NOTE, keys)


def test_the_key_id_must_match_too() -> None:
    """The signature is good and the name is right; the id says that another key made it."""
    signature = KEY.sign(TEXT.encode())
    note = f"{TEXT}\n— {ORIGIN} {encode_base64(OTHER.verifier.id + signature)}\n"
    with pytest.raises(VerificationFailed):
        open_note(note, [KEY.verifier])


def test_a_note_of_another_form_is_refused() -> None:
    line = NOTE.rpartition("\n\n")[2]
    for note in (
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE.replace("\n", "\r\n"),
        NOTE + line,  # the same key twice
        TEXT + "\n" + line.replace("— ", "- "),
        TEXT + "\n" + line.replace("— ", "—  "),
        TEXT + "\n" + f"— {ORIGIN} AAAA\n",
        TEXT + "\n" + line.replace("\n", " \n"),
        TEXT.replace(ORIGIN, ORIGIN + "\0") + "\n" + line,
        NOTE + "".join(f"— stranger{n} AAAAAAA=\n" for n in range(16)),
        line,
        "",
    ):
        with pytest.raises(VerificationFailed):
            open_note(note, [KEY.verifier])


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n07\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n+7\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n-7\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n 7\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n٧\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n7\n{encode_base64(ROOT)}",
        f"{ORIGIN}\n7\n{encode_base64(ROOT)}\nmore\n",
        f"{ORIGIN}\n7\n{encode_base64(ROOT[:31])}\n",
        f"{ORIGIN}\n7\n{encode_base64(ROOT + b'x')}\n",
        f"{ORIGIN}\n7\n{encode_base64(ROOT)[:-2]}l=\n",
        f"\n7\n{encode_base64(ROOT)}\n",
        f"two words\n7\n{encode_base64(ROOT)}\n",
    ],
)
def test_a_checkpoint_has_one_spelling(text: str) -> None:
    assert parse_checkpoint(TEXT) == Checkpoint(ORIGIN, 7, ROOT)
    with pytest.raises(VerificationFailed):
        parse_checkpoint(text)


def test_the_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(ORIGIN, 0, hashlib.sha256(b"").digest())
    assert parse_checkpoint(checkpoint_text(empty)) == empty


def test_a_signer_that_holds_another_key_is_noticed_when_it_signs() -> None:
    stranger = Ed25519PrivateKey.generate()
    with pytest.raises(VerificationFailed, match="does not hold"):
        sign_note(TEXT, ORIGIN, KEY.public, stranger.sign)


def test_a_text_that_no_reader_would_take_is_not_signed() -> None:
    for text in (TEXT[:-1], "tab\t\n", ""):
        with pytest.raises(VerificationFailed):
            sign_note(text, ORIGIN, KEY.public, KEY.sign)


def test_two_keys_that_can_not_be_told_apart_are_refused() -> None:
    """A key id has 32 bits: two keys with one id are found in a second, so it must not choose."""
    first, second = (VerifierKey(ORIGIN, number.to_bytes(32, "big")) for number in (10489, 43084))
    assert first.id == second.id
    with pytest.raises(VerificationFailed, match="one name and key id"):
        open_note(NOTE, [KEY.verifier, first, second])
    assert open_note(NOTE, [KEY.verifier, KEY.verifier, first])[1] == (KEY.verifier,)
