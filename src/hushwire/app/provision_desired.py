"""What the tables of a provisioning file become."""

from collections.abc import Mapping
from typing import Any

from hushwire.app.provision_tables import Document, Group, HttpCarrier, MessageCentre, Org, Trunk
from hushwire.app.provision_values import expanded
from hushwire.core.personal import Personal
from hushwire.policy.rules import ExceptionKind
from hushwire.policy.terms import hours_of, terms_of, written_hours, written_terms
from hushwire.privacy import notices
from hushwire.services.agreement_provisioning import PolicySpec, SubprocessorSpec
from hushwire.services.forwarding import of_values
from hushwire.services.provisioning_centres import CentreSpec
from hushwire.services.provisioning_custody import CustodySpec
from hushwire.services.provisioning_rules import ExceptionSpec, OrgRulesSpec, TeamSpec
from hushwire.services.provisioning_specs import AgentSpec, Desired, GroupSpec, KeySpec, NumberSpec, OrgSpec, TrunkSpec
from hushwire.services.ring_groups import RING_IN_TURN_S, RING_TOGETHER_S
from hushwire.store.provisioning import OrgRow


def desired(document: Document, custody: Mapping[str, CustodySpec]) -> Desired:
    trunks = tuple(_trunk(trunk) for trunk in document.trunks)
    listed = tuple(
        SubprocessorSpec(entry.name, entry.purpose, entry.country, tuple(sorted(set(entry.categories))), entry.safeguard)
        for entry in document.subprocessors
    )
    policies = tuple(PolicySpec(policy.kind, policy.version, policy.text, policy.effective_at) for policy in document.policies)
    centres = tuple(_centre(entry) for entry in document.message_centres)
    return Desired(trunks, tuple(_org(org, custody[org.slug]) for org in document.orgs), listed, policies, centres)


def _centre(centre: MessageCentre | HttpCarrier) -> CentreSpec:
    said = centre.model_dump()
    secret = said.pop("secret", None)
    if isinstance(centre, HttpCarrier):
        said["numbering"] = "payload"
    own = {name: said.pop(name) for name in ("name", "kind", "priority", "weight", "prefixes", "password")}
    return CentreSpec(**{**own, "prefixes": tuple(own["prefixes"])}, settings=said, secret=secret)


def _trunk(trunk: Trunk) -> TrunkSpec:
    said: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in trunk if name != "rates"}
    return TrunkSpec(**said)


def _org(org: Org, custody: CustodySpec) -> OrgSpec:
    row = OrgRow(
        slug=org.slug,
        name=org.name,
        home_country=org.home_country,
        residency=org.residency,
        record=org.record,
        agent_srtp=org.agent_srtp,
        allow_sdes_in_clear=org.allow_sdes_in_clear,
        without_recording=org.without_recording,
        outside_prefix=org.outside_prefix,
        allowed_countries=expanded(org.allowed_countries, org.country_groups),
        classes=tuple(sorted(set(org.classes))),
        recording_consent=org.recording_consent,
        ringback=org.ringback,
        music_on_hold=org.music_on_hold,
        announcement=org.announcement,
        announce_at=org.announce_at,
        record_from=org.record_from,
        spoken_refusals=org.spoken_refusals,
        beep=org.beep,
        beep_every_s=org.beep_every_s,
        presence=org.presence,
        record_emergency=org.record_emergency,
        telemarketing_hours=tuple(org.telemarketing_hours),
    )
    agents = tuple(
        AgentSpec(
            a.username,
            a.role,
            a.extension,
            a.caller_id,
            a.sip_password,
            a.suspended,
            a.telemarketing,
            a.media_ports,
            a.hides_identity,
            None if a.forwarding is None else of_values(a.forwarding.model_dump()),
            a.level(a.time_zone),
            None if a.address is None else a.address.parts(),
        )
        for a in org.agents
    )
    numbers = tuple(NumberSpec(entry.number, entry.to, entry.masks, entry.group) for entry in org.numbers)
    groups_ = tuple(_group(group) for group in org.groups)
    contacts = None
    if org.contacts is not None:
        contacts = tuple((notices.ContactRole(contact.role), Personal(contact.email)) for contact in org.contacts)
    jurisdictions = None if org.jurisdiction is None else tuple(org.jurisdiction)
    api_keys = tuple(KeySpec(key.name, key.role, key.purpose, key.person) for key in org.api_keys)
    rules = OrgRulesSpec(
        org.time_zone,
        None if org.terms is None else written_terms(terms_of(org.terms)),
        None if org.hours is None else written_hours(hours_of(org.hours)),
        None if org.short_codes is None else tuple(sorted(set(org.short_codes))),
        None if org.risk_packs_off is None else tuple(sorted(set(org.risk_packs_off))),
    )
    teams = tuple(TeamSpec(team.name, tuple(team.members), team.level()) for team in org.teams)
    excepted = tuple(ExceptionSpec(ExceptionKind(one.kind), one.said, one.until) for one in org.exceptions)
    limited = org.limits if isinstance(org.limits, dict) else None
    return OrgSpec(row, agents, numbers, api_keys, jurisdictions, contacts, custody, groups_, rules, teams, excepted, limited)


def _group(group: Group) -> GroupSpec:
    seconds = group.ring_s or (RING_TOGETHER_S if group.strategy == "parallel" else RING_IN_TURN_S)
    return GroupSpec(group.name, group.extension, group.strategy, seconds, group.follows_forwarding, tuple(group.members))
