"""The vectors of audit exports, and a verifier that knows nothing of hushwire but docs/audit.md."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hushwire.privacy.audit_export import check, kept_heads
from hushwire.privacy.canonical import canonical
from tests.vectors.audit.make import chain, export, signed_heads, vectors

FOLDER = Path(__file__).parents[1] / "vectors" / "audit"
STORED: dict[str, Any] = json.loads((FOLDER / "vectors.json").read_bytes())
KEYS = canonical(STORED["keys"])
by_name = pytest.mark.parametrize("vector", STORED["vectors"], ids=lambda vector: vector["name"])


def stand_alone(folder: Path, data: bytes, *kept: Path) -> str:
    (folder / "export.jsonl").write_bytes(data)
    (folder / "keys.json").write_bytes(KEYS)
    command = [sys.executable, "-I", str(FOLDER / "verify.py"), str(folder / "export.jsonl"), str(folder / "keys.json"), *map(str, kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert (done.returncode == 0) == done.stdout.startswith("whole")
    return done.stdout


def test_the_stored_vectors_are_what_the_script_makes() -> None:
    assert vectors() == STORED


@by_name
def test_an_export_is_judged_as_the_vector_says(vector: dict[str, Any]) -> None:
    result = check(vector["export"].encode().splitlines(keepends=True), KEYS)
    assert (result.kind.value if result.kind else None) == vector["kind"], result
    if vector["at"] is not None:
        assert result.broken_at == vector["at"]


@by_name
def test_a_verifier_that_knows_only_the_documents_reaches_the_same_verdict(vector: dict[str, Any], tmp_path: Path) -> None:
    assert stand_alone(tmp_path, vector["export"].encode()).startswith("whole") == (vector["kind"] is None)


def test_a_change_of_any_byte_of_an_export_is_found() -> None:
    rows = chain(3)
    good = export(rows, signed_heads(rows, 1, 3))
    assert check(good.splitlines(keepends=True), KEYS).is_whole
    for place in range(len(good)):
        changed = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        assert not check(changed.splitlines(keepends=True), KEYS).is_whole, place


def test_an_export_cut_at_any_line_is_found() -> None:
    rows = chain(5)
    lines = export(rows, signed_heads(rows, 2, 4)).splitlines(keepends=True)
    for count in range(len(lines)):
        assert not check(lines[:count], KEYS).is_whole


def test_an_export_kept_by_a_customer_contradicts_a_log_that_was_cut_or_rewritten_since(tmp_path: Path) -> None:
    rows = chain(6)
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(export(rows[:5], is_newest=True))
    vouching = kept_heads(kept, KEYS)
    assert check(export(rows).splitlines(keepends=True), KEYS, vouching).is_whole
    cut = check(export(rows[:3]).splitlines(keepends=True), KEYS, vouching)
    assert (cut.kind, cut.broken_at) == ("truncated", 4)
    false = chain(6, fields=lambda n: {"n": -n})
    rewritten = check(export(false).splitlines(keepends=True), KEYS, vouching)
    assert (rewritten.kind, rewritten.broken_at) == ("rewritten", 5)
    assert stand_alone(tmp_path, export(rows), kept).startswith("whole")
    assert "altered or rewritten" in stand_alone(tmp_path, export(false), kept)


@pytest.mark.parametrize("what", ["not json", "{}", '{"type": "hushwire.audit-head.v1"}', ""])
def test_a_file_that_vouches_for_nothing_is_refused(tmp_path: Path, what: str) -> None:
    from hushwire.core.errors import MalformedError

    (tmp_path / "head").write_text(what)
    with pytest.raises(MalformedError):
        kept_heads(tmp_path / "head", KEYS)
