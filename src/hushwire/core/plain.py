"""Values as what JSON knows, by functions made once for each class: an order of magnitude quicker than to ask a schema each time.

A dataclass gives its fields by their names, those left out that stand at their defaults; an enum its value, bytes base64, a tuple a list.
What reads it back, and by which types, is the reader's business (pydantic).
"""

import types
import typing
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson

_NATIVE: Final = (str, int, float, bool, types.NoneType, datetime, UUID)
"""What a writer of JSON takes as it is, or as its text."""
_Plain = Callable[[Any], Any]
_MADE: Final[dict[type, _Plain]] = {}


def plain(value: Any) -> Any:
    """The value as JSON's own kinds, times and ids. Raises TypeError for what has no such form."""
    write = _MADE.get(value.__class__)
    if write is None:
        write = _MADE[value.__class__] = _writer(value.__class__)
    return write(value)


def as_json(value: Any) -> bytes:
    """The value as JSON. Raises TypeError for what has no such form.

    Bytes of a peer's that are no UTF-8, as in a name that an old phone writes in Latin-1, are surrogates in our text, and JSON has no room
    for these: they are written as the last private characters, and `shown` undoes it.
    """
    return said_as_json(plain(value))


def said_as_json(said: Any) -> bytes:
    """What `plain` made of a value, as JSON."""
    try:
        return orjson.dumps(said, default=str)
    except TypeError:
        return orjson.dumps(_hidden(said), default=str)


def hides(data: bytes) -> bool:
    """Whether what was read from this JSON has to be `shown`."""
    return _HIDDEN_UTF8 in data


def shown(value: Any) -> Any:
    """A value that was read from JSON, as it was before `as_json` wrote it."""
    if isinstance(value, str):
        return value if isinstance(value, Enum) else value.translate(_SHOWING)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{one.name: shown(getattr(value, one.name)) for one in fields(value) if one.init})
    if isinstance(value, tuple):
        known = [shown(one) for one in value]
        return type(value)(*known) if hasattr(value, "_fields") else tuple(known)
    if isinstance(value, list):
        return [shown(one) for one in value]
    return {shown(name): shown(one) for name, one in value.items()} if isinstance(value, dict) else value


_HIDING: Final = {0xDC00 + byte: 0x10FF00 + byte for byte in range(0x80, 0x100)}
_SHOWING: Final = {hidden: surrogate for surrogate, hidden in _HIDING.items()}
_HIDDEN_UTF8: Final = b"\xf4\x8f"


def _hidden(said: Any) -> Any:
    if isinstance(said, str):
        return said.translate(_HIDING)
    if isinstance(said, list | tuple):
        return [_hidden(one) for one in said]
    return {_hidden(name): _hidden(one) for name, one in said.items()} if isinstance(said, dict) else said


def _writer(cls: type) -> _Plain:
    if issubclass(cls, Enum):
        return lambda value: value._value_
    if is_dataclass(cls):
        return _of_fields(cls)
    if issubclass(cls, bytes):
        return lambda value: b2a_base64(value, newline=False).decode()
    if issubclass(cls, tuple | list | set | frozenset):
        return lambda value: [plain(one) for one in value]
    if issubclass(cls, dict):
        return lambda value: {str(plain(key)): plain(one) for key, one in value.items()}
    if issubclass(cls, _NATIVE):
        return lambda value: value
    raise TypeError(f"{cls.__qualname__} has no plain form")


def _of_fields(cls: type) -> _Plain:
    """A function of its own for a class: each field costs a look at it, and what is at its default nothing more."""
    hints = typing.get_type_hints(cls)
    lines = ["def write(value):", "    said = {}"]
    names: dict[str, Any] = {"plain": plain, "base64": b2a_base64}
    for one in fields(cls):
        lines.append(f"    one = value.{one.name}")
        lines.append(f"    {_unless_default(one, names)}said[{one.name!r}] = {_said(hints[one.name], 'one', names)}")
    exec("\n".join([*lines, "    return said"]), names)  # noqa: S102 - of names of our own, as dataclasses themselves are made
    made: _Plain = names["write"]
    return made


def _said(hint: Any, one: str, names: dict[str, Any]) -> str:
    """The expression that makes `one`, of this type, plain; what its type does not tell is left to `plain`."""
    hint = getattr(hint, "__supertype__", hint)
    arguments = typing.get_args(hint)
    if _is_native(hint):
        return one
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and len(arguments) == 2 and types.NoneType in arguments:
        (other,) = (kind for kind in arguments if kind is not types.NoneType)
        return f"None if {one} is None else {_said(other, one, names)}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not types.NoneType]
        if all(isinstance(kind, type) and is_dataclass(kind) for kind in kinds):
            for kind in kinds:
                _made(kind)
            names["made"] = _MADE
            said = f"made[{one}.__class__]({one})"
            return said if len(kinds) == len(arguments) else f"None if {one} is None else {said}"
    if typing.get_origin(hint) is tuple and arguments[-1] is ...:
        return f"[{_said(arguments[0], f'{one}_', names)} for {one}_ in {one}]"
    if typing.get_origin(hint) in (dict, Mapping):
        key = _said(arguments[0], f"{one}_", names)
        return f"{{str({key}): {_said(arguments[1], f'{one}__', names)} for {one}_, {one}__ in {one}.items()}} if {one} else {{}}"
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        hints = typing.get_type_hints(hint)
        return f"[{', '.join(_said(hints[name], f'{one}.{name}', names) for name in hint._fields)}]"
    if hint is bytes:
        return f"base64({one}, newline=False).decode()"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"{one}._value_"
    if isinstance(hint, type) and is_dataclass(hint):
        name = f"write_{len(names)}"
        names[name] = _made(hint)
        return f"{name}({one})"
    return f"plain({one})"


def _made(cls: type) -> _Plain:
    return _MADE.get(cls) or _MADE.setdefault(cls, _writer(cls))


def _unless_default(one: "Field[Any]", names: dict[str, Any]) -> str:
    default = one.default
    if one.default_factory is not MISSING:
        default = one.default_factory()
    if default is MISSING:
        return ""
    if default is None:
        return "if one is not None: "
    names[f"default_{one.name}"] = default
    return f"if one != default_{one.name}: "


def _is_native(hint: Any) -> bool:
    """Whether values of a type are plain as they are, with all that is in them."""
    hint = getattr(hint, "__supertype__", hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType):
        return all(map(_is_native, arguments))
    if origin in (tuple, list, Sequence):
        return all(one is ... or _is_native(one) for one in arguments)
    if origin in (dict, Mapping):
        return arguments[0] is str and _is_native(arguments[1])
    return hint in _NATIVE
