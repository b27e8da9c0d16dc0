"""Code can't reach a carrier without a verdict: what a carrier's target and a message's outbox take, only the judge makes."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import hushwire

SOURCE = Path(hushwire.__file__).parent
JUDGE = {"policy/judge.py", "policy/levels.py"}

CALLED_IN = {
    # The only thing that sends an INVITE, and the only one that makes a carrier's target of a verdict.
    "invite": {"services/call_effects.py", "transport/commands.py"},
    "trunk_target": {"services/ways_out.py"},
    # What has a call begun that nobody dialled: asked for by the API, or keyed. Each asks the router, and the router the judge.
    "called_for": {"services/originating.py"},
    "originate": {"services/originating.py"},
    "call_in": {"services/call_taking.py", "services/conferences.py"},
    # What makes ways out of a verdict: for who calls or is called later, for who diverts, and for masked sessions.
    "on_verdict": {"services/routing.py", "services/successors.py"},
    "ways_out": {"services/diversion.py", "services/masked_routes.py", "services/ways_out.py"},
    # The rows from which messages leave for carriers.
    "enqueue_all": {"services/message_sending.py", "services/message_inbox.py"},
}


@cache
def calls() -> list[tuple[str, str]]:
    """Each call in the source: the file and the last name of what is called."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                found.append((path.relative_to(SOURCE).as_posix(), name))
    return found


@pytest.mark.parametrize("verdict", ["Allow", "Emergency"])
def test_a_verdict_that_lets_out_is_made_by_the_judge_alone(verdict: str) -> None:
    made = {path for path, name in calls() if name == verdict}
    assert made
    assert made <= JUDGE


@pytest.mark.parametrize("name", CALLED_IN)
def test_what_leads_to_a_carrier_is_asked_for_in_few_places(name: str) -> None:
    assert {path for path, called in calls() if called == name} == CALLED_IN[name]


def test_a_carriers_target_takes_a_verdict() -> None:
    tree = ast.parse((SOURCE / "services" / "trunk_targets.py").read_text())
    makes = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) == "Target"
    ]
    assert [made.name for made in makes] == ["trunk_target"]
    verdict = makes[0].args.args[1].annotation
    assert verdict is not None
    assert ast.unparse(verdict) == "Allow | Emergency"


def test_all_other_targets_are_phones() -> None:
    makers = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        if "Target" in re.findall(r"\w+", " ".join(re.findall(r"from hushwire\.calls\.model import (\([^)]*\)|.*)", text))):
            tree = ast.parse(text)
            if any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Target" for node in ast.walk(tree)):
                makers.add(path.relative_to(SOURCE).as_posix())
    # Of a verdict; of a phone's registration; of a party that is in the call already.
    assert makers == {"services/trunk_targets.py", "services/phone_targets.py", "services/replacing.py"}
