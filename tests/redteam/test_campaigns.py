"""The tricks are as many as was promised, each field of the table is played by a test, and the documentation says the same numbers."""

import ast
from pathlib import Path

from tests.redteam.campaigns import CAMPAIGNS, SIP, Stack, Way, written

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs" / "voice-security.md"
OTHERS = {Stack.PJSIP, Stack.SIPP}


def played() -> set[tuple[Way, Stack]]:
    """Every `tricks(Way.X, Stack.Y)` that a test takes."""
    found = set()
    for path in HERE.glob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.AsyncFunctionDef) or not function.name.startswith("test_"):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tricks":
                    way, stack = (argument.attr for argument in node.args if isinstance(argument, ast.Attribute))
                    found.add((Way[way], Stack[stack]))
    return found


def test_every_field_of_the_table_is_played_and_no_other() -> None:
    assert played() == set(CAMPAIGNS)


def test_there_are_150_tricks_and_ten_or_more_for_each_way_out() -> None:
    counts = {way: sum(len(tricks) for (at, stack), tricks in CAMPAIGNS.items() if at is way and stack is not Stack.INSIDE) for way in Way}
    assert min(counts.values()) >= 10, counts
    assert sum(counts.values()) >= 150
    for field, tricks in CAMPAIGNS.items():
        assert len({(trick.name, trick.sent) for trick in tricks}) == len(tricks), f"{field}: one is counted twice"


def test_ten_or_more_on_each_way_of_sip_are_played_by_stacks_that_others_wrote() -> None:
    for way in SIP:
        by_others = {stack: len(CAMPAIGNS.get((way, stack), ())) for stack in OTHERS}
        assert sum(by_others.values()) >= 10, (way, by_others)


def test_the_documentation_tells_the_numbers_of_the_table() -> None:
    assert written() in DOCS.read_text()
