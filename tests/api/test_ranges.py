"""Which bytes a request asks for, sentence by sentence of RFC 9110."""

import pytest

from hushwire.api.ranges import Choice, NotModified, Part, PreconditionFailed, Unsatisfiable, Whole, chosen

TAG = '"abc"'


def ask(size: int = 1000, method: str = "GET", **headers: str) -> Choice:
    return chosen(method, {name.replace("_", "-"): value for name, value in headers.items()}, TAG, size)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-499", 0, 499),
        ("bytes=500-", 500, 999),
        ("bytes=500-5000", 500, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-5000", 0, 999),
        ("BYTES= 1-2 ", 1, 2),
        ("bytes=,1-2,,", 1, 2),
        ("bytes=999-999999999999999999", 999, 999),
    ],
)
def test_one_range_is_answered_with_its_bytes(asked: str, first: int, last: int) -> None:
    assert ask(range=asked) == Part(first, last)


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_behind_the_end_is_unsatisfiable(asked: str) -> None:
    assert ask(range=asked) == Unsatisfiable()


@pytest.mark.parametrize(
    "asked",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1-2,5-6", "bytes=0-,0-,0-", "items=0-1", "bytes=1--2", "bytes=+1-2",
     "bytes=1-2;3", "bytes=\u0661-2", "bytes=" + "0-1," * 5000, "bytes=0-" + "9" * 5000, "bytes=0-1\x00"],
)  # fmt: skip
def test_what_is_no_single_range_is_answered_with_the_whole(asked: str) -> None:
    assert ask(range=asked) == Whole()


def test_a_range_counts_only_for_get_and_only_while_the_bytes_are_the_same() -> None:
    assert ask(method="HEAD", range="bytes=0-1") == Whole()
    assert ask(range="bytes=0-1", if_range=TAG) == Part(0, 1)
    for other in ('"abd"', 'W/"abc"', "Wed, 25 Nov 2026 17:40:00 GMT", ""):
        assert ask(range="bytes=0-1", if_range=other) == Whole()
    assert ask(range="bytes=1000-", if_range='"other"') == Whole()


def test_conditions_come_before_ranges() -> None:
    assert ask(if_match='"x", "abc"', range="bytes=0-1") == Part(0, 1)
    assert ask(if_match="*") == Whole()
    assert ask(if_match='"x"', range="bytes=0-1") == PreconditionFailed()
    assert ask(if_match='W/"abc"') == PreconditionFailed()
    assert ask(if_none_match='W/"abc"', range="bytes=0-1") == NotModified()
    assert ask(if_none_match='"x", "abc"') == NotModified()
    assert ask(if_none_match='"x"') == Whole()
    assert ask(method="HEAD", if_none_match="*") == NotModified()
