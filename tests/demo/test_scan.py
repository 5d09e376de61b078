"""The scan of what is left on disk sees everything, or says what it did not see."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import zstandard

from broker.demo import scan as scan_module
from broker.demo.canaries import forms, load_marks, needles, new_marks
from broker.demo.crm import build_crm
from broker.demo.scan import CHUNK_BYTES, NeedleFound, NeedleNotFound, must_find, scan
from broker.demo.scan import must_find_nothing as check_clean
from broker.embedded import EmbeddedServer
from tests.conftest import admin, new_database, superuser

WORD = b"CANARY-0123456789abcdef-word"
NEEDLES = {"word": [WORD]}


@pytest.mark.parametrize("before", [-1, -len(WORD) + 1, -len(WORD), -5, 0, 1])
def test_a_needle_is_found_once_across_the_borders_of_chunks(tmp_path: Path, before: int) -> None:
    for chunks in (1, 2):
        at = chunks * CHUNK_BYTES + before
        (tmp_path / "large").write_bytes(bytes(at) + WORD + bytes(100))
        report = scan({"here": tmp_path}, {**NEEDLES, "longer": [b"not there " * 9]})
        assert [(hit.file, hit.offset) for hit in report.hits] == [("large", at)]


def test_hidden_files_and_deep_folders_are_searched(tmp_path: Path) -> None:
    hidden = tmp_path / ".cache" / "a" / ".b"
    hidden.mkdir(parents=True)
    (hidden / ".c").write_bytes(b"x" + WORD)
    report = scan({"here": tmp_path}, NEEDLES)
    assert [(hit.root, hit.needle, hit.file, hit.offset) for hit in report.hits] == [
        ("here", "word", ".cache/a/.b/.c", 1)
    ]
    assert report.files["here"] == 1
    assert report.bytes_read["here"] == len(WORD) + 1


def test_names_of_files_and_targets_of_links_are_searched(tmp_path: Path) -> None:
    (tmp_path / WORD.decode()).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / WORD.decode())
    hits = scan({"here": tmp_path}, NEEDLES).hits
    assert [(hit.file, hit.offset) for hit in hits] == [(WORD.decode(), None), ("link", None)]


def in_zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/member.txt", content)
    return packed.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
    "zip:folder/member.txt": in_zip,
}
# Repeats enough to be packed away, and passes the borders of what is fed and searched at once.
PADDING = b"".join(b"%d is an ordinary line\n" % n for n in range(300_000))


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_files_are_searched_unpacked(tmp_path: Path, packing: str) -> None:
    packed = PACKERS[packing](PADDING + WORD + PADDING)
    assert WORD not in packed
    (tmp_path / "packed").write_bytes(packed)
    report = scan({"here": tmp_path}, NEEDLES)
    assert [(hit.member, hit.offset) for hit in report.hits] == [(f"!{packing}", len(PADDING))]
    assert report.bytes_read["here"] == len(packed) + 2 * len(PADDING) + len(WORD)
    assert not report.problems


@pytest.mark.parametrize("packing", ["zstd", "gzip", "bzip2", "xz"])
def test_every_frame_of_a_packed_file_is_searched(tmp_path: Path, packing: str) -> None:
    packed = PACKERS[packing](PADDING) + PACKERS[packing](2 * WORD)
    (tmp_path / "packed").write_bytes(packed)
    hits = [hit for hit in scan({"here": tmp_path}, NEEDLES).hits if hit.member]
    assert [hit.offset for hit in hits] == [len(PADDING), len(PADDING) + len(WORD)]


def test_packings_within_packings_are_searched(tmp_path: Path) -> None:
    content = in_zip(gzip.compress(zstandard.ZstdCompressor().compress(WORD * 50)))
    (tmp_path / "packed").write_bytes(content)
    members = {hit.member for hit in scan({"here": tmp_path}, NEEDLES).hits}
    assert "!zip:folder/member.txt!gzip!zstd" in members


def five_times_gzip(content: bytes) -> bytes:
    for _ in range(5):
        content = gzip.compress(content)
    return content


def encrypted_zip(content: bytes) -> bytes:
    """Set the flag that says so; the standard library can't encrypt."""
    packed = bytearray(in_zip(content))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


NOT_SEARCHED = {
    "cut short by gzip": (gzip.compress(PADDING)[:-20], "ends in the middle"),
    "cut short by zstd": (PACKERS["zstd"](PADDING)[:-20], "ends in the middle"),
    "with something behind": (PACKERS["zstd"](PADDING) + b"behind", "does not unpack"),
    "zstd in name only": (b"\x28\xb5\x2f\xfd" + b"x" * 99, "does not unpack"),
    "an encrypted zip": (encrypted_zip(WORD * 50), "does not unpack"),
    "a zip in gzip": (gzip.compress(in_zip(WORD * 50)), "is not opened here"),
    "a pg_dump archive": (b"PGDMP\x01\x0f", "is not opened here"),
    "packed too deep": (five_times_gzip(WORD * 50), "packed more than"),
}


@pytest.mark.parametrize("what", NOT_SEARCHED)
def test_what_cannot_be_unpacked_is_a_problem(tmp_path: Path, what: str) -> None:
    content, reason = NOT_SEARCHED[what]
    (tmp_path / "packed").write_bytes(content)
    (problem,) = scan({"here": tmp_path}, NEEDLES).problems
    assert problem.file == "packed"
    assert reason in problem.reason


def test_more_than_the_limit_unpacked_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "UNPACKED_LIMIT_BYTES", 1 << 20)
    (tmp_path / "packed").write_bytes(gzip.compress(bytes(9 << 20)))
    (problem,) = scan({"here": tmp_path}, NEEDLES).problems
    assert "unpacks to more than" in problem.reason


def test_a_file_that_cannot_be_read_is_a_problem() -> None:
    """Not even root reads address 0 of a process."""
    (problem,) = scan({"memory": Path("/proc/self/mem")}, NEEDLES).problems
    assert (problem.root, problem.file) == ("memory", "mem")


def test_a_root_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = scan({"here": tmp_path / "mistyped"}, NEEDLES).problems
    assert "no such" in problem.reason


def test_a_file_that_vanished_since_it_was_listed_is_named_but_no_problem(tmp_path: Path) -> None:
    report = scan_module.Report()
    scan_module._FileScan(report, "here", tmp_path, tmp_path / "temporary", NEEDLES).run()
    assert report.vanished == [("here", "temporary")]
    assert not report.problems


def test_a_link_out_of_the_root_is_a_problem_and_one_within_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").touch()
    (root / "within").symlink_to("file")
    assert not scan({"here": root}, NEEDLES).problems
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to("/etc")
    assert [problem.file for problem in scan({"here": root}, NEEDLES).problems] == ["out"]


@pytest.mark.parametrize("bad", [{}, {"none": []}, {"short": [b"short"]}])
def test_a_search_that_could_say_nothing_is_refused(
    tmp_path: Path, bad: dict[str, list[bytes]]
) -> None:
    with pytest.raises(ValueError, match=r"nothing to search|empty or shorter"):
        scan({"here": tmp_path}, bad)


def test_the_control_names_what_was_not_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(WORD)
    report = scan({"here": tmp_path}, {**NEEDLES, "other": [b"another word"]})
    must_find(report, "here", ["word"])
    with pytest.raises(NeedleNotFound, match="did not see other"):
        must_find(report, "here", ["word", "other"])
    with pytest.raises(NeedleNotFound):
        must_find(report, "elsewhere", ["word"])


def test_clean_means_neither_a_hit_nor_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nothing of interest")
    check_clean(scan({"here": tmp_path}, NEEDLES))
    with pytest.raises(NeedleFound, match="not searched"):
        check_clean(scan({"here": tmp_path, "gone": tmp_path / "gone"}, NEEDLES))
    (tmp_path / "file").write_bytes(WORD)
    with pytest.raises(NeedleFound, match="word in here: file"):
        check_clean(scan({"here": tmp_path}, NEEDLES))


@pytest.mark.parametrize("before", range(4))
def test_a_value_is_found_in_each_form(tmp_path: Path, before: int) -> None:
    value = new_marks().canaries["email"]
    written = {
        "plain": value.encode(),
        "lower": value.lower().encode(),
        "upper": value.upper().encode(),
        "utf-16": value.encode("utf-16"),
        "hex": b"\\x" + (bytes(before) + value.encode()).hex().encode(),
        "base64": base64.b64encode(b"x" * before + value.encode() + b"after"),
        "base64 at the end": base64.b64encode(b"x" * before + value.encode()),
    }
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    hits = scan({"here": tmp_path}, {"email": forms(value)}).hits
    assert {hit.file for hit in hits} == set(written)


def test_marks_survive_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    marks, path = new_marks(), tmp_path / "marks.json"
    path.touch(0o644)
    marks.save(path)
    assert load_marks(path) == marks
    assert path.stat().st_mode & 0o777 == 0o600


def test_marks_are_fresh_each_time() -> None:
    first, second = new_marks(), new_marks()
    for one, other in ((first.canaries, second.canaries), (first.kept, second.kept)):
        assert not set(one.values()) & set(other.values())


@pytest.mark.long
def test_every_mark_of_a_crm_is_seen_in_its_servers_files(live_server: EmbeddedServer) -> None:
    """The positive control of every claim that a destroyed copy left nothing."""
    marks = new_marks()
    name = new_database(live_server)
    build_crm(superuser(live_server, name), marks=marks, scale=0.01)
    with admin(live_server) as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute(
            "SELECT oid::text FROM pg_database WHERE datname = %s", (name,)
        ).fetchone()
    assert row is not None
    folders = {"all": live_server.data, "tables": live_server.data / "base" / row[0]}
    searched = needles({**marks.canaries, "reference": marks.kept["reference"]})
    report = scan(folders, {**searched, **needles({"unwritten": marks.kept["engineer"]})})
    must_find(report, "all", searched)
    must_find(report, "tables", searched)
    assert "unwritten" not in report.found("all")
    assert not report.problems
