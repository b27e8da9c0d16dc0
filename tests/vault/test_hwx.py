"""The sealed document: opened whole, in pieces of any size; anything else is an error."""

from uuid import UUID

import pytest

from hushwire.vault.hwx import MOST_PLAIN, DocumentError, Opener, Sealer
from tests.recorded import Chance

KEY, ORG, DOCUMENT = bytes(range(32)), UUID(int=1), UUID(int=2)
PARTS = (b"first", b"", b"second" * 10, b"last")


def sealed(parts: tuple[bytes, ...] = PARTS, *, is_whole: bool = True) -> tuple[bytes, list[bytes]]:
    sealer = Sealer(KEY, ORG, DOCUMENT, Chance())
    frames = [sealer.frame(part, is_final=is_whole and place == len(parts) - 1) for place, part in enumerate(parts)]
    return sealer.header, frames


def opened(data: bytes, piece: int = 1 << 20, *, key: bytes = KEY, org: UUID = ORG, document: UUID = DOCUMENT) -> bytes:
    opener, plain = Opener(key, org, document), b""
    for start in range(0, len(data), piece):
        plain += b"".join(opener.feed(data[start : start + piece]))
    opener.finish()
    return plain


@pytest.mark.parametrize("piece", [1, 2, 71, 72, 73, 1 << 20])
def test_a_document_opens_in_pieces_of_any_size(piece: int) -> None:
    header, frames = sealed()
    assert opened(header + b"".join(frames), piece) == b"".join(PARTS)


def test_a_sealer_that_goes_on_after_a_crash_makes_one_document() -> None:
    header, frames = sealed(PARTS[:2], is_whole=False)
    second = Sealer(KEY, ORG, DOCUMENT, Chance(), frames=2)
    assert second.header == header
    assert opened(header + b"".join(frames) + second.frame(b"rest", is_final=True)) == b"firstrest"


def test_what_is_cut_swapped_doubled_or_foreign_does_not_open() -> None:
    header, frames = sealed()
    whole = header + b"".join(frames)
    for data in (
        b"",
        whole[:-1],
        header,
        header + b"".join(frames[:-1]),
        header + frames[1] + frames[0] + b"".join(frames[2:]),
        header + frames[0] + b"".join(frames),
        whole + b"x",
    ):
        with pytest.raises(DocumentError):
            opened(data)
    for other in ({"key": bytes(32)}, {"org": UUID(int=3)}, {"document": UUID(int=3)}):
        with pytest.raises(DocumentError):
            opened(whole, **other)  # type: ignore[arg-type]


def test_a_bit_flipped_anywhere_is_noticed() -> None:
    header, frames = sealed((b"some", b"bytes"))
    whole = header + b"".join(frames)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(DocumentError):
            opened(bytes(changed))


def test_too_much_for_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="too much"):
        Sealer(KEY, ORG, DOCUMENT, Chance()).frame(bytes(MOST_PLAIN + 1))
