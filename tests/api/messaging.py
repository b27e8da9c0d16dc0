"""An organisation that can send and receive messages: a carrier, numbers, allowed countries; and what carriers bring it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import OwnHosts
from hushwire.services.carriage import Inbound
from hushwire.services.message_bodies import MessageBodies, OpenedMessage
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.voice_security import VoiceSecurity
from hushwire.sms.text.encoding import choose
from hushwire.sms.text.segmentation import Segment, Style, segments
from hushwire.store.database import Connection
from tests.api.serving import Office
from tests.recorded import Chance
from tests.store.rows import insert

OURS, THEIRS = "+493023125950", "+4915112345678"
Texts = list[tuple[UUID, UUID]]


@dataclass(slots=True)
class Desk:
    """One office's messages."""

    office: Office
    centre: UUID
    number: UUID
    inbox: MessageInbox
    bodies: MessageBodies
    to_phones: Texts = field(default_factory=list)

    async def receive(self, *texts: str, source: str = THEIRS, to: str = OURS) -> None:
        """A carrier brings these, each in as many parts as it takes."""
        await self.bring([one for text in texts for one in parts_of(text, source, to)])

    async def bring(self, deliveries: Sequence[Inbound]) -> frozenset[int]:
        return await self.inbox.receive(self.centre, deliveries)

    async def queued(self) -> list[OpenedMessage]:
        """What waits in the outbox, opened as it leaves."""
        rows = await self.office.rows("SELECT DISTINCT message_id FROM message_parts WHERE state = 'queued' ORDER BY 1")
        found = await self.bodies.open(self.office.house.org, [row["message_id"] for row in rows], Style())
        return [one for one in found.values() if one is not None]


async def add_number(office: Office, number: str, agent: UUID | None = None, *, org: OrgId | None = None) -> UUID:
    keyring, org = await office.house.keyring("owner"), org or office.house.org
    keys, deployment = await keyring.org_context(org), await keyring.deployment()
    row = uuid4()
    sealed = keys.operational.seal(number.encode(), table="numbers", column="number_sealed", row=row, org=org)
    async with (await office.house.main("owner")).organisation(org) as connection:
        await insert(
            connection, "numbers", id=row, org_id=org, number_sealed=sealed, agent_id=agent,
            number_index=keys.index("numbers.number", number), lookup=deployment.lookup(number), created_at=datetime.now(UTC),
        )  # fmt: skip
    return row


async def desk(office: Office, *, agent: UUID | None = None, countries: Sequence[str] = ("DE", "US")) -> Desk:
    house, centre = office.house, uuid4()
    await office.rows("UPDATE orgs SET allowed_countries = $1, name = 'Acme', updated_at = now() RETURNING id", list(countries))
    async with (await house.main("owner")).transaction() as connection:
        await insert(
            connection, "message_centres", id=centre, name=f"smsc-{centre}", settings="{}", created_at=datetime.now(UTC),
            updated_at=datetime.now(UTC),
        )  # fmt: skip
    number = await add_number(office, OURS, agent)
    main, keyring = await house.main("worker"), await house.keyring("worker")
    made: Texts = []

    async def to_phones(_: Connection, org_id: OrgId, texts: Texts, at: datetime, expires_at: datetime) -> None:
        assert org_id == house.org
        assert at < expires_at
        made.extend(texts)

    # As `hushwire sms` judges: with the rights of its role.
    verdicts = VoiceSecurity(main, keyring, house.clock, lambda _: OwnHosts())
    inbox = MessageInbox(main, keyring, verdicts, house.clock, Chance(), to_phones)  # type: ignore[arg-type]
    return Desk(office, centre, number, inbox, MessageBodies(main, keyring, house.clock, Chance(), verdicts), made)


def delivery(segment: Segment, source: str = THEIRS, to: str = OURS, **more: Any) -> Inbound:
    """One part as a carrier brings it, its numbers without their plus."""
    return Inbound(
        source=Personal(source.removeprefix("+")), destination=Personal(to.removeprefix("+")), payload=Personal(segment.payload),
        data_coding=segment.data_coding, has_udh=segment.has_udh, sar=segment.sar, at=datetime.now(UTC), **more,
    )  # fmt: skip


def parts_of(text: str, source: str = THEIRS, to: str = OURS, *, style: Style = Style(), reference: int = 7) -> list[Inbound]:  # noqa: B008
    return [delivery(segment, source, to) for segment in segments(text, choose(text), style, reference)]
