"""What is written of a call is read back whole, whatever it holds: with each field of each value set, and each kind of each union."""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asyncpg.pgproto.pgproto import UUID as DriversUUID

from hushwire.services.kept import Answered, Begun, Kept, Now, Over, Part, from_parts, to_bytes
from hushwire.services.kept_subscriptions import NAME, VERSION, KeptWatch, SubscriptionJournal
from hushwire.store.calls import NewCall
from hushwire.vault.journal import Journal

SAMPLES: dict[Any, Any] = {
    str: 'Zoë "x"',
    int: 7,
    float: 1.5,
    bool: True,
    bytes: bytes(range(250, 256)) + b">>>???",
    datetime: datetime(2026, 11, 26, 12, 0, 0, 123456, UTC),
    UUID: DriversUUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    type(None): None,
}


def made(hint: Any, pick: int) -> Any:
    """A value of a type with nothing at its default; of unions and enums the one of this number."""
    hint = getattr(hint, "__supertype__", hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return arguments[pick % len(arguments)]
    if origin in (typing.Union, types.UnionType):
        kinds = [one for one in arguments if one is not type(None)]
        return made(kinds[pick % len(kinds)], pick)
    if origin is tuple and arguments[-1] is ...:
        return (made(arguments[0], pick), made(arguments[0], pick + 1))
    if origin is tuple:
        return tuple(made(one, pick) for one in arguments)
    if origin in (list, Sequence):
        return [made(arguments[0], pick)]
    if origin in (dict, Mapping):
        return {made(arguments[0], pick): made(arguments[1], pick)}
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(
            **{one.name: made(hints[one.name], pick) for one in fields(hint) if one.init and (hint, one.name) != (Begun, "version")}
        )
    if hasattr(hint, "_fields"):
        hints = typing.get_type_hints(hint)
        return hint(*(made(hints[name], pick) for name in hint._fields))
    if issubclass(hint, enum.Enum):
        return list(hint)[pick % len(hint)]
    return SAMPLES[hint]


@pytest.mark.parametrize("pick", range(6))
def test_all_that_may_be_said_of_a_call_is_read_back_as_it_was(pick: int) -> None:
    begun, answered, now, over = (made(kind, pick) for kind in (Begun, Answered, Now, Over))
    parts = {part: data for data, part in map(to_bytes, (begun, answered, now, over))}
    later = (now.parting, begun.unwritten, now.farewells, now.ringing)
    expected = Kept(begun.org_id, begun.new, answered.answer, over.end, over.recording, now.talk, None, *later)
    assert from_parts(parts) == expected
    assert from_parts({Part.BEGUN: parts[Part.BEGUN]}) == Kept(begun.org_id, begun.new, waiting=begun.waiting, unwritten=begun.unwritten)
    # What is nothing any more is as if it had never been said; what another version wrote can't be read.
    without = from_parts({**parts, Part.NOW: b""})
    assert without is not None
    assert without.talk is None
    assert from_parts({**parts, Part.NOW: b'[{"talk": 7}]'}) is None
    assert from_parts({part: data for part, data in parts.items() if part is not Part.BEGUN}) is None


def test_a_name_that_is_no_utf_8_is_read_back_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLES, str, b'"M\xfcller" \xff'.decode("utf-8", "surrogateescape"))
    begun, now = made(Begun, 0), made(Now, 0)
    found = from_parts({part: data for data, part in map(to_bytes, (begun, now))})
    assert found is not None
    assert (found.new, found.talk, found.parting, found.farewells) == (begun.new, now.talk, now.parting, now.farewells)


def test_a_subscription_of_such_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLES, str, b'"M\xfcller" \xff'.decode("utf-8", "surrogateescape"))
    watch = dataclasses.replace(made(KeptWatch, 0), version=VERSION)
    before = SubscriptionJournal(Journal(tmp_path, bytes(32), NAME))
    before.put(watch)
    before.commit()
    found = SubscriptionJournal(Journal(tmp_path, bytes(32), NAME)).recover(watch.expires_at - timedelta(seconds=1))
    assert found == [watch.later()]


def test_what_stands_at_its_default_is_not_written() -> None:
    new = made(NewCall, 0)
    bare = NewCall(new.id, None, None, None, new.node_id, None, "outbound", "ringing", new.started_at)
    data, part = to_bytes(Begun(new.id, bare))
    assert part is Part.BEGUN
    assert b"version" not in data
    assert b"verdict" not in data
    assert from_parts({part: data}) == Kept(new.id, bare)
