"""Strangers who guess: they learn no names, and lock nobody out."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hushwire.services.identity import Known
from hushwire.sip.headers import Line
from tests.databases import Databases
from tests.services.location import Phone, World, build


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> World:
    return await build(databases, tmp_path)


async def refused(world: World, username: str, login: str | None = None) -> tuple[int, tuple[Line, ...]]:
    """The answer to a wrong password."""
    phone = Phone(username=username, password="a wrong one", login=login, call_id=f"{username}-{login}")
    assert await phone.register(world) == 401
    return phone.answers[-1]


def shape(answer: tuple[int, tuple[Line, ...]]) -> list[tuple[str, int, str]]:
    """Everything of an answer but the nonce, whose length is part of it."""
    return [(name, len(value), re.sub(r'nonce="[^"]*"', "", value)) for name, value in answer[1]]


async def test_known_and_unknown_names_and_logins_get_the_same_answer(world: World) -> None:
    answers = [
        await refused(world, "anna"),
        await refused(world, "nobody-at-all"),
        await refused(world, "anna", "anna@acme"),
        await refused(world, "anna", "anna@no-such-organisation"),
        await refused(world, "anna", "dabcdefghijklmnop"),
        await refused(world, "1000"),
    ]
    assert {answer[0] for answer in answers} == {401}
    assert all(shape(answer) == shape(answers[0]) for answer in answers)


async def test_a_suspended_or_foreign_name_is_told_so_only_to_who_knows_the_password(world: World) -> None:
    # 403 would tell that the name exists: it comes after the digest, never before.
    anothers = Phone(username="ben", login="anna", password="a wrong one")
    assert await anothers.register(world) == 401
    assert await Phone(username="ben", login="anna").register(world) == 403


def steps(work: Callable[[], object]) -> int:
    """Functions that are called meanwhile, ours and the interpreter's: what time is made of, and nothing of the machine's mood."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("is_first", [True, False], ids=["at the first guess", "at later ones"])
async def test_known_and_unknown_names_take_the_same_steps(world: World, is_first: bool) -> None:
    """All that a wrong password costs, from the REGISTER to its answer: a digest that is skipped would be a hundred steps fewer."""
    names = [
        ("anna", None),
        ("ghost", None),
        ("anna", "anna@acme"),
        ("anna", "anna@ghost"),
        ("ghost", "ghost@acme"),
        ("anna", "dabcdefghijklmnop"),
        ("ben", None),
    ]
    first = Phone()
    first.say(world, first.request())
    challenges = first.challenges()
    taken: dict[tuple[str, str | None], int] = {}
    for turn in range(1 if is_first else 3):
        for at, (username, login) in enumerate(names):
            phone = Phone(username=username, login=login, password="wrong", cseq=turn, call_id=f"{username}-{login}")
            request = phone.request(authorization_value=phone.answer(challenges, nc=1 + turn * len(names) + at))
            taken[username, login] = steps(lambda phone=phone, request=request: phone.say(world, request))
            assert phone.answers[-1][0] == 401
    for is_bare in (True, False):  # in which form a name is guessed is no secret
        counts = [count for (_, login), count in taken.items() if (login is None or "@" not in login) is is_bare]
        assert min(counts) > 60, "it was looked at"
        assert max(counts) - min(counts) <= 3, taken


async def test_a_thousand_wrong_guesses_do_not_lock_the_account_out(world: World) -> None:
    victim = Phone()
    assert await victim.register(world) == 200
    guesser = Phone(password="guess", call_id="guess", port=50000, address="203.0.113.66")
    guesser.say(world, guesser.request())
    challenges = guesser.challenges()
    for count in range(1, 1001):
        guesser.say(world, guesser.request(authorization_value=guesser.answer(challenges, nc=count)))
        assert guesser.answers[-1][0] == 401
    # The victim's refresh, a new device of its own and the nonce that the guesser has seen: all as before.
    assert await victim.register(world) == 200
    assert await Phone(port=40001, call_id="second").register(world) == 200
    request = victim.request(authorization_value=victim.answer(challenges, nc=7))
    assert isinstance(world.registrations._authenticator.identify(request), Known)
    assert world.registrations.count(request_agent(world)) == 2


def request_agent(world: World):  # type: ignore[no-untyped-def]
    org = world.directory.default_organisation
    assert org is not None
    return org.by_username["anna"].id
