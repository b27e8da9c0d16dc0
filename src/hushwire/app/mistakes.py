"""A wrong value said in one line that a person can act on: what pydantic found, in our words."""

from typing import Any, Final

_MENDS: Final = {
    "extra_forbidden": "hushwire knows no such key: correct the spelling or remove it",
    "missing": "is missing: add it",
    "string_type": "must be a string in quotes",
    "int_type": "must be a whole number without quotes",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": 'must be a list such as ["..."]',
    "list_type": 'must be a list such as ["..."]',
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "path_type": "must be a path in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}


def words(problem: Any) -> str:
    """What is wrong and the mend, for one entry of `ValidationError.errors()`; the wrong value itself is not repeated."""
    kind = problem["type"]
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        return f"must be {problem['ctx']['expected']}"
    if kind == "union_tag_invalid":
        return f"kind: must be one of {problem['ctx']['expected_tags']}"
    if kind.startswith(("greater_than", "less_than")):
        return "must be " + str(problem["msg"]).removeprefix("Input should be ")
    return _MENDS.get(kind, str(problem["msg"]))
