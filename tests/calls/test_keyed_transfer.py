"""What an agent keys to transfer a call: the code, a number, and #."""

import pytest

from hushwire.calls.keyed_transfer import LONGEST, PAUSE_S, Began, GaveUp, KeyedTransfer, Outcome, Wanted
from hushwire.core.personal import Personal


def keyed(reader: KeyedTransfer, digits: str, at: float = 0.0) -> list[Outcome]:
    return [outcome for digit in digits if (outcome := reader.key(digit, at)) is not None]


def wanted(number: str) -> Wanted:
    return Wanted(Personal(number))


@pytest.mark.parametrize(
    ("digits", "outcomes"),
    [
        ("*2030123#", [Began(), wanted("030123")]),
        ("12*2*2030#", [Began(), GaveUp()]),  # a * within the number gives up; what follows is looked at anew
        ("**2030#", [Began(), wanted("030")]),
        ("*2#030#", [Began(), GaveUp()]),
        ("030123#", []),
        ("2*030123#", []),
        ("*2" + "1" * LONGEST + "#", [Began(), wanted("1" * LONGEST)]),
        ("*2" + "1" * (LONGEST + 1) + "#", [Began(), GaveUp()]),
        ("*21#*22#", [Began(), wanted("1"), Began(), wanted("2")]),
    ],
)
def test_only_the_code_a_number_and_a_hash_ask_for_a_transfer(digits: str, outcomes: list[Outcome]) -> None:
    assert keyed(KeyedTransfer("*2"), digits) == outcomes


def test_keys_with_a_long_pause_between_them_do_not_belong_together() -> None:
    reader = KeyedTransfer("*2")
    assert keyed(reader, "*") == []
    assert keyed(reader, "2030#", PAUSE_S + 0.1) == []
    assert keyed(reader, "*2030", 20.0) == [Began()]
    assert keyed(reader, "123#", 20.1 + PAUSE_S) == [], "the number was given up meanwhile"


def test_a_number_does_not_show_in_an_outcome() -> None:
    assert "030" not in repr(keyed(KeyedTransfer("*2"), "*2030#"))
