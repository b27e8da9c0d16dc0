"""The table of clauses against the code, the tests and the page that is made from it."""

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest

from hushwire.privacy.clauses import Clause, Scope, clauses, markdown

TOP = Path(__file__).parents[2]
each = pytest.mark.parametrize("clause", clauses(), ids=lambda clause: clause.id)


@cache
def _tests_in(path: str) -> frozenset[str]:
    tree = ast.parse((TOP / "tests" / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@each
def test_every_control_and_every_test_that_a_clause_names_exists(clause: Clause) -> None:
    for control in clause.controls:
        module, _, symbol = control.partition(":")
        assert hasattr(importlib.import_module(f"hushwire.{module}"), symbol), control
    for named in clause.tests:
        path, _, name = named.partition("::")
        assert name in _tests_in(path), named


@each
def test_what_is_done_has_a_control_and_a_test_and_what_is_not_says_why(clause: Clause) -> None:
    if clause.scope is not Scope.LATER:
        assert clause.controls
        assert clause.tests
    assert bool(clause.why) == (clause.scope is not Scope.DONE)


def test_ids_are_unique_and_the_page_is_what_the_table_makes() -> None:
    assert len({clause.id for clause in clauses()}) == len(clauses())
    assert (TOP / "docs" / "dpa-coverage.md").read_text() == markdown(clauses()), (
        "python -m hushwire.privacy.clause_table > docs/dpa-coverage.md"
    )
