"""The vectors that every verifier of receipts shares (tests/vectors/receipts)."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from hushwire.privacy.receipts import verify

FOLDER = Path(__file__).parent.parent / "vectors" / "receipts"
SHARED = json.loads((FOLDER / "vectors.json").read_text())


@pytest.mark.parametrize("vector", SHARED["vectors"], ids=lambda vector: vector["name"])
def test_vector_is_judged_as_it_states(vector: dict[str, Any]) -> None:
    result = verify(vector["receipt"].encode(), json.dumps(SHARED["keys"]).encode())
    assert (result.reason.value if result.reason else None) == vector["reason"]
    assert result.is_valid is (vector["reason"] is None)


def test_the_vectors_are_those_that_the_code_makes() -> None:
    assert runpy.run_path(str(FOLDER / "make.py"))["vectors"]() == SHARED
