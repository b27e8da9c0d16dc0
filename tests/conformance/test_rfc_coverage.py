"""docs/rfc-coverage.md says what is there: each module and test that it names exists, and no test of the engine is named nowhere."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rfc-coverage.md"
STATES = ("done", "partly", "no")
# Of the engine's own promise; RFCs that are named in no row would have been forgotten.
PROMISED = (
    3261, 3262, 3263, 3264, 3311, 3323, 3325, 3326, 3327, 3515, 3581, 3891, 3892, 4028, 4320, 4321, 4412, 4475, 5118, 5589, 5626, 5627,
    5806, 5922, 6026, 6337, 7044, 7118, 7616, 8224, 8225, 8226, 8588, 8760,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    section: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    state: str


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 5 or cells[0] == "section":
            continue
        modules, tests = (tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells[2:4])
        found.append(Row(cells[0], modules, tests, re.split(r"[:\s]", cells[4])[0]))
    return found


ROWS = rows()


def test_the_page_is_read() -> None:
    assert len(ROWS) > 50
    assert {row.state for row in ROWS} == set(STATES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.section)
def test_what_a_row_names_exists(row: Row) -> None:
    for module in row.modules:
        assert (ROOT / "src" / "hushwire" / module).is_file(), module
    for name in row.tests:
        file, _, test = name.partition("::")
        path = ROOT / "tests" / file
        assert path.is_file(), name
        assert not test or re.search(rf"^(?:async )?def {re.escape(test)}\(", path.read_text(), re.MULTILINE), name
    assert row.tests or row.state == "no"
    assert row.modules or row.state == "no"


@pytest.mark.parametrize("folder", ["sip", "conformance"])
def test_every_test_file_of_the_engine_is_named(folder: str) -> None:
    named = {name.partition("::")[0] for row in ROWS for name in row.tests}
    there = {f"{folder}/{path.name}" for path in (ROOT / "tests" / folder).glob("test_*.py")}
    assert there - named - {"conformance/test_rfc_coverage.py"} == set()


@pytest.mark.parametrize("number", PROMISED)
def test_every_rfc_that_was_promised_has_its_row(number: int) -> None:
    assert re.search(rf"\b{number}\b", PAGE.read_text())
