"""Values as what JSON knows."""

import json
from dataclasses import field
from enum import StrEnum

import pytest

from hushwire.core.personal import Personal
from hushwire.core.plain import as_json, hides, plain, shown
from hushwire.core.values import frozen


class Kind(StrEnum):
    ONE = "one"
    TWO = "two"


@frozen
class Inner:
    kind: Kind
    key: bytes


@frozen
class Outer:
    inner: Inner
    either: Inner | int
    several: tuple[Inner, ...] = ()
    by_kind: dict[Kind, Inner] = field(default_factory=dict)
    name: str | None = None
    flag: bool = False


def test_fields_go_by_their_names_and_defaults_are_left_out() -> None:
    inner = Inner(Kind.TWO, b"\xff\x00")
    assert plain(Outer(inner, 7)) == {"inner": {"kind": "two", "key": "/wA="}, "either": 7}
    whole = plain(Outer(inner, inner, (inner,), {Kind.ONE: inner}, "a", True))
    said = {"kind": "two", "key": "/wA="}
    assert whole == {"inner": said, "either": said, "several": [said], "by_kind": {"one": said}, "name": "a", "flag": True}


def test_text_that_is_no_utf_8_is_json_and_read_back() -> None:
    name = b"M\xfcller \x80\xff".decode("utf-8", "surrogateescape")
    said = as_json([name, (name, {name: "ü"})])
    assert hides(said)
    assert shown(json.loads(said)) == [name, [name, {name: "ü"}]]
    assert not hides(as_json(["Müller \U0001f600"]))


def test_a_personal_value_has_no_plain_form() -> None:
    with pytest.raises(TypeError):
        plain({"number": Personal("+493023125000")})
