"""Carriers of short messages as provisioned: how each is read, and which of them a number is given to."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from hushwire.core.clock import Random
from hushwire.sip.resolve import by_weight
from hushwire.sms.smpp.outcomes import Meaning
from hushwire.sms.smpp.receipts import IdForm
from hushwire.sms.smpp.session import Mode
from hushwire.sms.text.alphabets import Language
from hushwire.sms.text.segmentation import Numbering, Style
from hushwire.store.database import Connection
from hushwire.vault.keyring import DeploymentKeys

_NO_ORG: Final = UUID(int=0)
_BEFORE: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One link of a centre."""

    host: str
    port: int
    mode: Mode = "transceiver"
    tls: bool = False
    weight: int = 1
    priority: int = 0
    """Links of a higher number are given messages only while none of a lower one is bound."""


@dataclass(frozen=True, slots=True)
class SmppSettings:
    """How a centre is spoken to; `docs/sms.md` says what each key means."""

    system_id: str
    links: tuple[LinkSpec, ...]
    system_type: str = ""
    window: int = 10
    per_second: float = 0.0
    enquire_every_s: int = 30
    answer_within_s: int = 30
    source_ton: int = 1
    source_npi: int = 1
    destination_ton: int = 1
    destination_npi: int = 1
    service_type: str = ""
    number_format: str = "e164"
    style: Style = field(default_factory=Style)
    receipts: bool = True
    receipts_by_text: bool = False
    answer_ids: IdForm = "caseless"
    receipt_ids: IdForm = "caseless"
    unknown_after_s: int = 86_400
    when_unknown: str = "fail"
    most_attempts: int = 8
    move_after_s: int = 120
    """So long it may be away before messages that it has not begun go by another carrier; 0: they wait for it."""
    statuses: Mapping[int, Meaning] = field(default_factory=lambda: MappingProxyType({}))
    pins: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    country: str | None = None
    """Where national numbers that it brings are dialled; None: where the organisation is at home."""
    untyped_numbers: str = "international"
    subprocessor: str | None = None

    @property
    def untyped_is_national(self) -> bool:
        """Whether numbers without a type are read as national ones first."""
        return self.untyped_numbers == "national"


@dataclass(frozen=True, slots=True)
class Centre:
    """One carrier by SMPP."""

    id: UUID
    name: str
    settings: SmppSettings
    password: str = field(repr=False)


def read_settings(said: Mapping[str, Any]) -> SmppSettings:
    """`message_centres.settings` of the kind smpp, as a provisioning file was checked."""
    known = dict(said)
    links = tuple(LinkSpec(**link) for link in known.pop("links"))
    statuses = MappingProxyType({int(status, 16): Meaning(word) for status, word in known.pop("statuses", {}).items()})
    pins, networks, style = tuple(known.pop("pins", ())), tuple(known.pop("networks", ())), read_style(known)
    for name in ("numbering", "packed", "languages"):
        known.pop(name, None)
    return SmppSettings(links=links, statuses=statuses, pins=pins, networks=networks, style=style, **known)


def read_style(said: Mapping[str, Any]) -> Style:
    """How a carrier of any kind takes long texts."""
    languages = frozenset(Language[name.upper()] for name in said.get("languages", ()))
    return Style(Numbering(said.get("numbering", "udh8")), bool(said.get("packed", False)), languages)


def place_of_password(centre_id: UUID) -> dict[str, Any]:
    """Where a centre's password is sealed to."""
    return {"table": "message_centres", "column": "password_sealed", "row": centre_id, "org": _NO_ORG}


async def smpp_centres(connection: Connection, keys: DeploymentKeys) -> list[Centre]:
    """All carriers by SMPP, ready to be connected to."""
    rows = await connection.fetch("SELECT id, name, settings, password_sealed FROM message_centres WHERE kind = 'smpp' ORDER BY name")
    return [
        Centre(
            row["id"],
            row["name"],
            read_settings(json.loads(row["settings"])),
            ""
            if row["password_sealed"] is None
            else keys.operational.open(row["password_sealed"], **place_of_password(row["id"])).decode(),
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Way:
    """One carrier, as far as the choice needs it."""

    id: UUID
    priority: int
    weight: int
    prefixes: tuple[str, ...]
    style: Style
    subprocessor: str | None = None
    """Whose it is, where it is a sub-processor's: nothing goes to it that something of the customer's stands against."""
    has_links: bool = True
    """Whether it is reached by links, which are bound or not."""
    updated_at: datetime = _BEFORE
    """When it was changed last."""

    def match(self, number: str) -> int | None:
        """How many of the number's first characters its longest prefix that fits is, 0 where it takes all; None: it does not take it."""
        fitting = [len(prefix) for prefix in self.prefixes if number.startswith(prefix)]
        return max(fitting, default=None) if self.prefixes else 0


async def ways(connection: Connection) -> list[Way]:
    """All carriers of short messages."""
    rows = await connection.fetch(
        "SELECT id, kind, priority, weight, prefixes, settings, updated_at FROM message_centres ORDER BY priority, name"
    )
    found = []
    for row in rows:
        said = json.loads(row["settings"])
        found.append(
            Way(
                row["id"],
                row["priority"],
                row["weight"],
                tuple(row["prefixes"]),
                read_style(said),
                said.get("subprocessor"),
                row["kind"] == "smpp",
                row["updated_at"],
            )
        )
    return found


def choose(carriers: Sequence[Way], number: str, random: Random) -> list[Way]:
    """Which carriers a number may be given to, the one to begin with first: by priority, then those with the longest prefix that fits,
    then by weight and chance."""
    ranks: dict[tuple[int, int], list[Way]] = defaultdict(list)
    for one in carriers:
        if (matched := one.match(number)) is not None:
            ranks[one.priority, -matched].append(one)
    return [one for rank in sorted(ranks) for one in by_weight(ranks[rank], lambda one: one.weight, random)]
