"""HMAC-SHA-256 with a kept key gives what the standard library gives, and the vectors of RFC 4231."""

import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.vault.mac import Mac, mac_of


@pytest.mark.parametrize(
    ("key", "data", "expected"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    ],
)
def test_the_vectors_of_rfc_4231(key: bytes, data: bytes, expected: str) -> None:
    assert Mac(key).digest(data).hex() == expected


@given(st.binary(max_size=64), st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_a_kept_key_gives_each_time_what_the_standard_library_gives(key: bytes, said: list[bytes]) -> None:
    kept = Mac(key)
    for data in said:
        assert kept.digest(data) == mac_of(kept, data) == mac_of(key, data) == hmac.digest(key, data, "sha256")


def test_a_long_key_is_refused_and_none_is_shown_or_pickled() -> None:
    with pytest.raises(ValueError, match="64 at most"):
        Mac(bytes(65))
    assert repr(Mac(b"secret")) == "Mac(<key>)"
    with pytest.raises(TypeError):
        pickle.dumps(Mac(b"secret"))
