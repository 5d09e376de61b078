"""The page of guarantees is what the tests are now."""

from __future__ import annotations

from tests.proofs import COMMAND, PAGE, ROOT, make_page, read_proof


def test_the_page_of_guarantees_is_current() -> None:
    assert PAGE.read_text() == make_page(), f"run: {COMMAND}"


def test_every_guarantee_has_a_file_that_states_it_and_a_case() -> None:
    files = sorted((ROOT / "tests/guarantees").glob("test_g*.py"))
    numbers = [int(path.name[6:8]) for path in files]
    assert numbers == list(range(1, 15))
    for number, path in zip(numbers, files, strict=True):
        proof = read_proof(path)
        assert proof.stands_for.startswith(f"G{number}. "), path.name
        assert proof.cases, path.name
