"""What fuzzing found interesting is replayed with every run of the tests."""

from pathlib import Path

import pytest

from tests.fuzz.sip import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_corpus_of_a_target_of_signalling_still_passes(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert len(inputs) > 10
    for path in inputs:
        TARGETS[target](path.read_bytes())
