"""JSON that has one spelling (RFC 8785), and a reader that refuses what two readers could understand differently.

Values here are objects, arrays, strings, whole numbers within 53 bits, booleans and null. Fractions and exponents are refused
on both ways: no signed document of ours needs them, and their spelling is where implementations differ.
"""

import json
from typing import Final, NoReturn

from hushwire.core.errors import MalformedError

MAX_INTEGER: Final = (1 << 53) - 1
_MAX_DEPTH: Final = 32


def canonical(value: object) -> bytes:
    """The one spelling of `value`. Raises MalformedError for what has none here (floats, large numbers, lone surrogates)."""
    try:
        return _spelled(value, 0).encode()
    except UnicodeEncodeError as error:
        raise MalformedError("a string holds half of a surrogate pair") from error


def parse(data: bytes) -> object:
    """The value of a JSON text. Raises MalformedError for duplicate names, fractions, large numbers, deep nesting, or no JSON."""
    try:
        value: object = json.loads(
            data.decode(), object_pairs_hook=_object, parse_float=_refused, parse_constant=_refused, parse_int=_integer
        )
    except (ValueError, RecursionError) as error:
        raise MalformedError("not JSON as it is accepted here") from error
    canonical(value)
    return value


def _spelled(value: object, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise MalformedError("nested too deeply")
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            if abs(value) > MAX_INTEGER:
                raise MalformedError("a number beyond 53 bits")
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return "[" + ",".join(_spelled(item, depth + 1) for item in value) + "]"
        case dict():
            # RFC 8785 section 3.2.3: names are sorted by their UTF-16 code units
            names = sorted((_name(name) for name in value), key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_spelled(value[name], depth + 1)}" for name in names) + "}"
        case _:
            raise MalformedError("a value that signed documents don't hold")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise MalformedError("a name that is not a string")
    return name


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(text: str) -> NoReturn:
    raise ValueError("a number that is not whole")


def _integer(text: str) -> int:
    if len(text) > 17 or text == "-0":
        raise ValueError("a number with another spelling, or too large")
    return int(text)
