"""From an organisation's sealed rows to its snapshot. Nothing here waits: calls never meet half an organisation."""

import json
from collections.abc import Sequence
from uuid import UUID

from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.policy import calling_hours, limits
from hushwire.policy.grants import with_grants
from hushwire.policy.model import OwnHosts
from hushwire.policy.risk import RiskPack
from hushwire.policy.rules import Rules
from hushwire.privacy.consent import Declaration
from hushwire.privacy.jurisdictions import tags_for_country
from hushwire.sdp.model import Keying, Srtp
from hushwire.services.agent_rules import by_agent, grants_by_agent, opened_exceptions, organisation_rules
from hushwire.services.forwarding import from_json
from hushwire.services.ring_groups import RingGroup, Strategy
from hushwire.services.snapshot import Address, Agent, AssignedNumber, Organisation, Shown
from hushwire.services.snapshot_reading import OrganisationRows
from hushwire.services.sound_settings import AnnounceAt, Hearers, RecordFrom, Ringback, SoundSettings
from hushwire.store.directory import AgentRow, GroupRow, NumberRow, OrgRow
from hushwire.vault.keyring import OrgKeys


def organisation_of(found: OrganisationRows, keys: OrgKeys, own_hosts: OwnHosts, packs: Sequence[RiskPack]) -> Organisation:
    """The snapshot that these rows say, `packs` being the risk packs in force. Raises what rows raise that can't be opened or read."""
    row = found.org
    agents = [_agent(keys, agent, has_ended=found.has_ended) for agent in found.agents]
    rules = organisation_rules(row, row.rules_version, own_hosts, opened_exceptions(keys, found.exceptions), packs)
    rules = replace(rules, org_id=row.id)
    return Organisation(
        id=row.id,
        slug=row.slug,
        residency=row.residency,
        record=row.record,
        agent_srtp=Srtp.REQUIRED if row.agent_srtp == "required" else Srtp.OPTIONAL,
        sdes=Keying.BEST_EFFORT if row.agent_srtp == "best-effort" else Keying.SDES,
        allows_sdes_in_clear=row.allow_sdes_in_clear,
        calls_without_recording=row.without_recording == "unrecorded",
        custody_version=row.custody_version,
        rules=rules,
        keys=keys,
        by_id={agent.id: agent for agent in agents},
        by_username={agent.username.reveal(): agent for agent in agents},
        by_extension={agent.extension.reveal(): agent for agent in agents if agent.extension is not None},
        subprocessors=found.free,
        unrecorded=found.unrecorded,
        consent=Declaration(row.recording_consent),
        jurisdictions=tuple(row.jurisdictions) or tags_for_country(row.home_country),
        do_not_call=found.do_not_call,
        do_not_call_version=found.do_not_call_version,
        sounds=_sounds(row),
        groups={group.extension: _group(group) for group in found.groups},
        presence=Shown(row.presence),
        telemarketing_hours=tuple(calling_hours.parse(text) for text in row.telemarketing_hours),
        live_rules_version=row.live_rules_version,
        limits=limits.book(found.limits).active,
        record_emergency=row.record_emergency,
        narrowed=_narrowed(rules, found),
        teams={AgentId(agent_id): team.id for team in found.teams for agent_id in team.members},
    )


def numbers_of(found: OrganisationRows, keys: OrgKeys) -> dict[bytes, AssignedNumber]:
    """The organisation's numbers, by their blind index under the deployment's key."""
    return {number.lookup: _number(keys, number) for number in found.numbers}


def opened(keys: OrgKeys, sealed: bytes, table: str, column: str, row: UUID) -> str:
    """What stands sealed in one column of a row of the organisation."""
    return keys.operational.open(sealed, table=table, column=column, row=row, org=keys.org_id).decode()


def _narrowed(rules: Rules, found: OrganisationRows) -> dict[AgentId, Rules]:
    narrowed = {AgentId(agent_id): own for agent_id, own in by_agent(rules, found.teams, found.levels).items()}
    for given_to, grants in grants_by_agent(found.granted).items():
        narrowed[AgentId(given_to)] = with_grants(narrowed.get(AgentId(given_to), rules), grants)
    return narrowed


def _agent(keys: OrgKeys, row: AgentRow, *, has_ended: bool) -> Agent:
    def text(sealed: bytes | None, column: str) -> str | None:
        return None if sealed is None else opened(keys, sealed, "agents", column, row.id)

    def personal(sealed: bytes | None, column: str) -> Personal[str] | None:
        found = text(sealed, column)
        return None if found is None else Personal(found)

    ha1 = text(row.ha1_sealed, "ha1_sealed")
    address = text(row.address_sealed, "address_sealed")
    return Agent(
        id=row.id,
        org_id=keys.org_id,
        username=Personal(opened(keys, row.username_sealed, "agents", "username_sealed", row.id)),
        role=row.role,
        extension=personal(row.extension_sealed, "extension_sealed"),
        caller_id=personal(row.caller_id_sealed, "caller_id_sealed"),
        ha1={} if ha1 is None else json.loads(ha1),
        is_suspended=row.suspended or has_ended,
        is_telemarketing=row.telemarketing,
        media_ports=row.media_ports,
        hides_identity=row.hides_identity,
        forwarding=from_json(text(row.forwarding_sealed, "forwarding_sealed")),
        address=None if address is None else Personal(_address(address)),
    )


def _address(text: str) -> Address:
    return tuple((name, value) for name, value in json.loads(text).items())


def _number(keys: OrgKeys, row: NumberRow) -> AssignedNumber:
    number = Personal(opened(keys, row.number_sealed, "numbers", "number_sealed", row.id))
    return AssignedNumber(keys.org_id, number, row.agent_id, row.id, row.masks, row.group_id)


def _group(row: GroupRow) -> RingGroup:
    return RingGroup(row.id, row.name, row.extension, Strategy(row.strategy), row.ring_s, row.follows_forwarding, tuple(row.members))


def _sounds(row: OrgRow) -> SoundSettings:
    return SoundSettings(
        ringback=Ringback(row.ringback),
        music_on_hold=row.music_on_hold,
        announcement=Hearers(row.announcement),
        announce_at=AnnounceAt(row.announce_at),
        record_from=RecordFrom(row.record_from),
        spoken_refusals=row.spoken_refusals,
        beep=Hearers(row.beep),
        beep_every_s=row.beep_every_s,
    )
