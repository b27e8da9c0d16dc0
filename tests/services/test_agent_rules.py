"""Rules of teams and agents: from the file to the rows to what a gateway judges by, and back from nothing."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from hushwire.core.errors import ConfigError
from hushwire.policy.model import Allow, Attempt, Channel, Deny, OwnHosts, Reason
from hushwire.policy.risk import read_pack
from hushwire.policy.rules import ExceptionKind
from hushwire.services.agent_rules import Said, checked
from hushwire.services.provisioning_rules import ExceptionSpec, LevelSpec, OrgRulesSpec, TeamSpec
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.verdicts import verdict_for
from hushwire.services.voice_security import VoiceSecurity
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from tests.databases import Databases
from tests.services.location import ANNA, BEN, ORG, Clock, World, build, judge
from tests.services.location import WHOLE as DECLARED

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BERLIN, VIENNA, UNASSIGNED = "+4930123456", "+4312345678", "+4932999"
ROW = dataclasses.replace(ORG.row, allowed_countries=("AT", "DE"))
WHOLE = dataclasses.replace(ORG, row=ROW)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> World:
    return await build(databases, tmp_path)


async def found(world: World, **changes: object) -> tuple[Organisation, Agent, Agent]:
    await world.provisioning.apply(dataclasses.replace(DECLARED, orgs=(dataclasses.replace(WHOLE, **changes),)))  # type: ignore[arg-type]
    await world.directory.load()
    org = world.directory.default_organisation
    assert org is not None
    return org, org.by_username["anna"], org.by_username["ben"]


def reached(org: Organisation, agent: Agent) -> set[str]:
    numbers = {"DE": BERLIN, "AT": VIENNA}
    return {
        code for code, number in numbers.items() if isinstance(verdict_for(judge, org, agent, Attempt(number, Channel.INVITE), NOW), Allow)
    }


async def test_a_team_and_an_agent_narrow_what_their_own_calls_reach(world: World) -> None:
    org, anna, ben = await found(world)
    assert (reached(org, anna), reached(org, ben)) == ({"AT", "DE"}, {"AT", "DE"})
    team = TeamSpec("sales", ("anna",), LevelSpec(("DE",)))
    org, anna, ben = await found(world, teams=(team,), agents=(ANNA, dataclasses.replace(BEN, level=LevelSpec(("AT",)))))
    assert (reached(org, anna), reached(org, ben)) == ({"DE"}, {"AT"})
    assert org.team_of(anna) is not None
    assert org.team_of(ben) is None
    both = dataclasses.replace(ANNA, level=LevelSpec(("AT",)))
    org, anna, ben = await found(world, teams=(team,), agents=(both, BEN))
    assert (reached(org, anna), reached(org, ben)) == (set(), {"AT"})  # what is not declared stays


async def test_a_second_run_changes_nothing_and_the_version_rises_with_each_change_only(world: World) -> None:
    team = TeamSpec("sales", ("anna", "ben"), LevelSpec(("DE",), hours='[{"days":[1],"from":"08:00","to":"18:00"}]'))
    excepted = ExceptionSpec(ExceptionKind.UNASSIGNED, Said(UNASSIGNED, False, "DE", "the lift"), None)
    declared = {"teams": (team,), "exceptions": (excepted,), "rules": OrgRulesSpec("Europe/Berlin", terms='{"AT":{"ways":"sms"}}')}
    org, _, _ = await found(world, **declared)
    again, anna, _ = await found(world, **declared)
    assert again.rules.version == org.rules.version
    assert again.rules == org.rules
    assert again.narrowed[anna.id].narrower[0].hours
    kept, _, _ = await found(world)
    assert (kept.rules.version, kept.narrowed.keys()) == (org.rules.version, org.narrowed.keys())
    moved, _, _ = await found(world, teams=(dataclasses.replace(team, members=("ben",)),))
    assert moved.rules.version > org.rules.version
    assert len(moved.narrowed) == 1


async def test_an_exception_reaches_its_number_and_stands_nowhere_in_the_clear(world: World) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    excepted = ExceptionSpec(ExceptionKind.UNASSIGNED, Said(UNASSIGNED, False, "DE", "the lift in Berlin"), until)
    org, anna, _ = await found(world, exceptions=(excepted,))
    assert isinstance(verdict_for(judge, org, anna, Attempt(UNASSIGNED, Channel.INVITE), NOW), Allow)
    async with world.provisioning.main.organisation(org.id) as connection:
        (row,) = await connection.fetch("SELECT * FROM number_exceptions")
    assert not any(marker in str(dict(row)) for marker in ("4932999", "lift"))
    assert row["ends_at"] == until


async def test_terms_of_the_organisation_are_judged_by_its_gateways(world: World) -> None:
    org, anna, _ = await found(world, rules=OrgRulesSpec(terms='{"AT":{"ways":"sms"}}', short_codes=("116117",)))
    refused = verdict_for(judge, org, anna, Attempt(VIENNA, Channel.INVITE), NOW)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.WAY
    assert isinstance(verdict_for(judge, org, anna, Attempt(VIENNA, Channel.SMS), NOW), Allow)
    assert isinstance(verdict_for(judge, org, anna, Attempt("116117", Channel.INVITE), NOW), Allow)


async def test_an_organisation_that_can_not_be_read_stays_as_it_was_and_ages_until_it_can(world: World, databases: Databases) -> None:
    org, anna, _ = await found(world)
    owner = await databases.connect("main", "administrator")
    await set_terms(owner, '{"ZZ":{}}')
    world.clock.ahead_s = 100.0
    await world.directory.load()
    assert world.directory.default_organisation is org
    assert world.directory.agent(anna.id) is anna
    assert world.directory.age_s(org.id) >= 100
    assert world.directory.unread == 1
    await set_terms(owner, '{"AT":{"ways":"sms"}}')
    await world.directory.load()
    assert world.directory.age_s(org.id) < 100
    assert world.directory.unread == 0
    assert reached(world.directory.default_organisation or org, anna) == {"DE"}


async def test_a_risk_pack_is_obeyed_although_the_database_went_away_when_it_came(world: World, databases: Databases) -> None:
    packs = [read_pack("hushwire-risk-pack 1\nname: own\nversion: 1\nissued: 2026-11-26\nsource: s | S\n+4930 | misuse | s | x\n", b"1")]
    world.directory._packs = lambda: packs
    owner = await databases.connect("main", "administrator")
    async with owner.transaction() as connection:
        await connection.execute("REVOKE SELECT ON teams FROM hushwire_gateway")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await world.directory.load()
    async with owner.transaction() as connection:
        await connection.execute("GRANT SELECT ON teams TO hushwire_gateway")
    await world.directory.load()
    org = world.directory.default_organisation
    assert org is not None
    assert org.rules.packs == tuple(packs)


async def test_of_two_organisations_each_ages_by_itself_and_the_sound_one_stays_the_newest(world: World, databases: Databases) -> None:
    other = dataclasses.replace(WHOLE, row=dataclasses.replace(ROW, slug="other", name="Other"), numbers=())
    await world.provisioning.apply(dataclasses.replace(DECLARED, orgs=(WHOLE, other)))
    await world.directory.load()
    owner = await databases.connect("main", "administrator")
    by_slug = {org.slug: org for id_ in world.directory.organisation_ids() if (org := world.directory.organisation(id_)) is not None}
    await set_terms(owner, '{"ZZ":{}}', "acme")
    await set_terms(owner, '{"AT":{"ways":"sms"}}', "other")
    world.clock.ahead_s = 100.0
    await world.directory.load()
    broken, sound = by_slug["acme"], world.directory.organisation(by_slug["other"].id)
    assert world.directory.organisation(broken.id) is broken
    assert world.directory.age_s(broken.id) >= 100
    assert sound is not None
    assert world.directory.age_s(sound.id) < 100
    assert reached(sound, next(iter(sound.by_id.values()))) == {"DE"}
    assert sound.rules.org_id == sound.id


async def set_terms(owner: Database, terms: str, slug: str = "acme") -> None:
    async with owner.transaction() as connection:
        await connection.execute("UPDATE orgs SET terms = $1 WHERE slug = $2", terms, slug)


async def test_a_check_for_an_agent_says_what_its_calls_would_be_told(world: World, databases: Databases) -> None:
    team = TeamSpec("sales", ("anna",), LevelSpec(("DE",)))
    org, anna, ben = await found(world, teams=(team,), agents=(ANNA, dataclasses.replace(BEN, level=LevelSpec(("AT",)))))
    keyring = Keyring(await databases.connect("keyring", "api"), RootKey(bytes(32)).role_keys(opener=False))
    service = VoiceSecurity(await databases.connect("main", "api"), keyring, Clock(), lambda _: OwnHosts())
    for agent, rule in ((anna, "team countries"), (ben, "organisation countries AT")):
        verdict = await service.check(org.id, VIENNA, Channel.INVITE, agent=str(agent.id))
        assert isinstance(verdict, Allow | Deny)
        assert verdict.rule == rule
        assert verdict_for(judge, org, agent, Attempt(VIENNA, Channel.INVITE), NOW) == verdict


def test_an_exception_for_a_country_without_that_calling_code_is_refused() -> None:
    for said in (Said("+4932999", False, "AT", "x"), Said("+999", True, "DE", "x"), Said("+4932", True, "DE", " ")):
        with pytest.raises(ConfigError):
            checked(said, ExceptionKind.UNASSIGNED)
    assert checked(Said("+4932", True, "DE", "x"), ExceptionKind.UNASSIGNED)
