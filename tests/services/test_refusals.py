"""One catalogue of refusals: nothing is answered that is not in it, and headers, ears, rows and programs say the same."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from hushwire import services
from hushwire.calls.failures import ENDED_BY, WORDS
from hushwire.calls.model import EndReason
from hushwire.policy.model import Reason
from hushwire.services.refusals import CATALOGUE, explained, spoken
from hushwire.sip.message import REASONS

SOURCE = Path(services.__file__).parents[1]
ANSWERING = {
    "respond",
    "answer",
    "refuse",
    "decline",
    "_refuse",
    "_answer",
    "_reject",
    "_reason",
    "reason_header",
    "Unknown",
    "Refused",
    "refused",
}
SIDE = ("sip", "transport", "services", "calls", "app")
HEADER = re.compile(r'SIP;cause=(\d{3});text="([^"]*)"')


def trees() -> Iterator[tuple[str, ast.Module]]:
    for folder in SIDE:
        for path in sorted((SOURCE / folder).rglob("*.py")):
            if path.relative_to(SOURCE).as_posix() not in ("sip/refusals.py", "app/demo/softphone.py"):
                yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def answers(tree: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """The status that each answering call names, and the words that it names beside it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        given = [item.value for item in node.args if isinstance(item, ast.Constant)]
        statuses = [value for value in given if type(value) is int and 300 <= value < 700]
        if name in ANSWERING and statuses:
            yield statuses[0], [value for value in given if isinstance(value, str) and " " in value]


def test_every_status_that_the_source_answers_with_is_in_the_catalogue() -> None:
    known = {one.status for one in CATALOGUE.values()}
    found = [(file, status) for file, tree in trees() for status, _ in answers(tree)]
    assert len(found) > 60, "the source is read"
    assert [(file, status) for file, status in found if status not in known] == [], "add it to sip/refusals.py"


def test_every_reason_that_the_source_writes_is_in_the_catalogue_with_its_status() -> None:
    known = {(one.status, one.words) for one in CATALOGUE.values()}
    written = [(file, status, text) for file, tree in trees() for status, words in answers(tree) for text in words]
    for file, tree in trees():
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        written += [(file, int(found[1]), found[2]) for text in texts for found in HEADER.finditer(text)]
    assert [entry for entry in written if entry[1:] not in known and entry[2] not in REASONS.values()] == [], "add it to sip/refusals.py"


def test_every_way_in_which_a_call_ends_or_is_refused_has_its_words() -> None:
    assert {reason.value for reason in EndReason} | {reason.value for reason in Reason} <= CATALOGUE.keys()
    assert set(WORDS.values()) <= {one.words for one in CATALOGUE.values()}
    for reason, header in ENDED_BY.items():
        assert header == CATALOGUE[reason.value].header


def test_codes_are_unique_words_are_plain_and_headers_say_what_rows_say() -> None:
    for code, one in CATALOGUE.items():
        assert one.code == code
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert one.words.isascii()
        assert not set(one.words) & set('"\\\r\n')
        assert one.header is None or HEADER.fullmatch(one.header)
        assert one.header is None or one.words in one.header
    told = explained(Reason.COUNTRY.value, "refused")
    assert told is not None
    assert (told.header, told.sentence) == (Reason.COUNTRY.sip_reason, Reason.COUNTRY.explanation)
    assert told.spoken == spoken(Reason.COUNTRY.value) == "Calls to this country are not allowed."
    assert explained(None, None) is None
