"""What contradicts itself in a provisioning file whose tables are right each by itself."""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

from phonenumbers import shortnumberinfo

from hushwire.app.provision_tables import Document, Org

T = TypeVar("T", bound=Hashable)


def contradictions(document: Document, regions: set[str]) -> Iterable[str]:
    """What is wrong between entries, each of which is right by itself."""
    yield from (f'trunks: the name "{name}" stands twice' for name in _twice(trunk.name for trunk in document.trunks))
    yield from (f'message_centres: the name "{name}" stands twice' for name in _twice(entry.name for entry in document.message_centres))
    yield from (f'subprocessors: the name "{name}" stands twice' for name in _twice(entry.name for entry in document.subprocessors))
    yield from (f'orgs: the slug "{slug}" stands twice' for slug in _twice(org.slug for org in document.orgs))
    seen_in: dict[str, str] = {}
    for org in document.orgs:
        where = f'orgs "{org.slug}"'
        if "*" not in regions and org.residency not in regions:
            yield f"{where} residency: no store serves it: add [store] regions.{org.residency} to the configuration"
        yield from (
            f'{where} agents: the username "{name}" stands twice' for name in _twice(agent.username.lower() for agent in org.agents)
        )
        yield from (
            f'{where} agents: the extension "{name}" stands twice' for name in _twice(a.extension for a in org.agents if a.extension)
        )
        yield from (f'{where} api_keys: the name "{name}" stands twice' for name in _twice(key.name for key in org.api_keys))
        yield from (f'{where} allowed_countries: "{code}" stands twice' for code in _twice(org.allowed_countries))
        yield from (
            f"{where} contacts: an address stands twice with the role {role}"
            for role, _ in _twice((contact.role, contact.email) for contact in org.contacts or [])
        )
        yield from (f'{where} jurisdiction: "{tag}" stands twice' for tag in _twice(org.jurisdiction or []))
        usernames = {agent.username for agent in org.agents}
        for key in org.api_keys:
            if key.person is not None and key.person not in usernames:
                yield f'{where} api_keys "{key.name}" person: there is no agent "{key.person}" in this organisation'
        for position, agent in enumerate(org.agents, 1):
            if agent.extension and _is_emergency(agent.extension, org.home_country):
                yield f'{where} agents[{position}] "{agent.username}" extension: is an emergency number: choose another'
        yield from _wrong_groups(org, where, usernames)
        yield from _wrong_teams(org, where, usernames)
        for position, entry in enumerate(org.numbers, 1):
            place = f"{where} numbers[{position}]"
            if entry.to is not None and entry.to not in usernames:
                yield f'{place} to: there is no agent "{entry.to}" in this organisation: declare it, or correct the name'
            if entry.group is not None and entry.group not in {group.name for group in org.groups}:
                yield f'{place} group: there is no group "{entry.group}" in this organisation: declare it, or correct the name'
            if entry.number in seen_in:
                yield f"{place} number: stands in {seen_in[entry.number]} already"
            seen_in[entry.number] = place


def _wrong_groups(org: Org, where: str, usernames: set[str]) -> Iterable[str]:
    yield from (f'{where} groups: the name "{name}" stands twice' for name in _twice(group.name for group in org.groups))
    taken = [agent.extension for agent in org.agents if agent.extension]
    yield from (
        f'{where} groups: the extension "{extension}" stands twice, or is an agent\'s'
        for extension in _twice([group.extension for group in org.groups] + taken)
        if extension not in _twice(taken)
    )
    for group in org.groups:
        place = f'{where} groups "{group.name}"'
        if _is_emergency(group.extension, org.home_country):
            yield f"{place} extension: is an emergency number: choose another"
        yield from (f'{place} members: "{name}" stands twice' for name in _twice(group.members))
        yield from (
            f'{place} members: there is no agent "{name}" in this organisation: declare it, or correct the name'
            for name in group.members
            if name not in usernames
        )


def _wrong_teams(org: Org, where: str, usernames: set[str]) -> Iterable[str]:
    yield from (f'{where} teams: the name "{name}" stands twice' for name in _twice(team.name for team in org.teams))
    members = [name for team in org.teams for name in team.members]
    yield from (f'{where} teams: the agent "{name}" stands twice: an agent is of one team at most' for name in _twice(members))
    for team in org.teams:
        yield from (
            f'{where} teams "{team.name}" members: there is no agent "{name}" in this organisation: declare it, or correct the name'
            for name in team.members
            if name not in usernames
        )
    yield from (f"{where} exceptions: one stands twice" for _ in _twice((one.kind, one.number, one.prefix) for one in org.exceptions))
    yield from (
        f"{where} short_codes: {code} is an emergency number, which is put through anyway"
        for code in org.short_codes or []
        if _is_emergency(code, org.home_country)
    )


def _twice(names: Iterable[T]) -> list[T]:
    return [name for name, count in Counter(names).items() if count > 1]


def _is_emergency(extension: str, country: str) -> bool:
    return extension in ("112", "911") or shortnumberinfo.is_emergency_number(extension, country)
