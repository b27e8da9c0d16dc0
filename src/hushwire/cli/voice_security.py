"""`hushwire countries set` and `hushwire check`: where agents may call, beside a running hushwire or without one."""

import asyncio
from typing import Annotated, Any, assert_never

import typer

from hushwire.app import provision_file
from hushwire.app.config import Config
from hushwire.app.deployment import Administration, administration
from hushwire.app.hosts import own_hosts
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId
from hushwire.policy.model import Allow, AllowContact, Channel, Deny, Emergency, Malformed, Verdict
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.services.risk_packs import RiskPacks
from hushwire.services.rule_changes import OPERATOR, Change, Saved
from hushwire.services.voice_security import NoAgent, VoiceSecurity
from hushwire.store import provisioning as rows

countries = typer.Typer(help="The countries that agents may reach.", no_args_is_help=True)


@countries.command("set")
def set_(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The organisation's slug.", show_default=False)],
    codes: Annotated[list[str] | None, typer.Argument(metavar="CODES...", help="ISO 3166-1 codes; none: no country at all.")] = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Set the countries that ORG's agents may call. The next call obeys."""
    settings = load(config, "countries")
    wanted = provision_file.countries(codes or [])

    async def run() -> bool:
        async with administration(settings) as means:
            org_id = await _organisation(means, org)
            service = await _service(means, settings)
            before = await service.rules(org_id)
            after = await service.change(org_id, Change(allowed_countries=frozenset(wanted)), actor=OPERATOR)
            return not isinstance(after, Saved) or after.rules.version != before.version

    changed = asyncio.run(run())
    if json:
        print_json({"org": org, "allowed_countries": wanted, "changed": changed})
    else:
        people.print(f"{org}: {', '.join(wanted) or 'no country'}{'' if changed else ' (as before)'}", markup=False)


def check(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="As dialled, or a SIP or tel URI.", show_default=False)],
    agent: Annotated[str, typer.Option("--agent", metavar="A", help="acme/anna; anna if there is one organisation.", show_default=False)],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Say what would become of a call to NUMBER, and why. Exit status 0 only if it may go out. Changes nothing."""
    settings = load(config, "check")
    slug, _, username = agent.rpartition("/")

    async def run() -> Verdict:
        async with administration(settings) as means:
            org_id = await _organisation(means, slug or settings.sip.default_org)
            found = await (await _service(means, settings)).check(org_id, number, Channel.INVITE, agent=username)
            if isinstance(found, NoAgent):
                raise ConfigError(f'--agent: there is no agent "{agent}": name it as organisation/username')
            return found

    verdict = _described(asyncio.run(run()))
    if json:
        print_json(verdict)
    else:
        colour = "green" if verdict["verdict"] in ("allow", "emergency") else "red"
        people.print(f"[bold {colour}]{verdict['verdict']}[/] ", end="")
        people.print(verdict["explanation"], markup=False)
        facts = {name: verdict[name] for name in ("number", "country", "class", "reason", "rule") if verdict[name] is not None}
        for name, value in facts.items():
            people.print(f"  {name:<8} {value}", markup=False)
    if verdict["verdict"] not in ("allow", "emergency"):
        raise typer.Exit(1)


def _described(verdict: Verdict) -> dict[str, Any]:
    said: dict[str, Any] = {"verdict": "allow", "number": None, "country": None, "class": None, "reason": None, "rule": None}
    match verdict:
        case Allow():
            said |= {"number": verdict.number, "country": verdict.country, "class": verdict.number_class, "rule": verdict.rule or None}
        case AllowContact():
            pass
        case Emergency():
            said |= {"verdict": "emergency", "number": verdict.number, "country": verdict.country}
        case Deny():
            said |= {"verdict": "deny", "number": verdict.number, "country": verdict.country, "class": verdict.number_class}
            said |= {"reason": verdict.reason, "rule": verdict.rule or None}
        case Malformed():
            said |= {"verdict": "malformed", "reason": verdict.reason}
        case _:
            assert_never(verdict)
    return said | {"explanation": verdict.explanation}


async def _organisation(means: Administration, slug: str | None) -> OrgId:
    """The organisation called `slug`; without one, the only organisation that there is."""
    async with means.main.transaction() as connection:
        found = await rows.find_org(connection, slug) if slug else await rows.only_org(connection)
    if found is None:
        raise ConfigError(f'there is no organisation "{slug}"' if slug else "there is not exactly one organisation: name it")
    return found


async def _service(means: Administration, settings: Config) -> VoiceSecurity:
    notices = Notices(means.main, means.keyring, Clocks(means.clock, means.random), means.clock, means.random)
    packs = RiskPacks(settings.risk_pack_folder, settings.risk_packs.keys)
    packs.look()
    await packs.adopt(means.main)  # a command takes what is obeyed, and leaves it as it is
    return VoiceSecurity(means.main, means.keyring, means.clock, lambda slug: own_hosts(settings, slug), notices, packs.packs)


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(countries, name="countries")
    application.command()(check)
