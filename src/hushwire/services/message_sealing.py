"""A message as its row holds it: numbers and text under a data key of its own, and the keyed hashes that it is found by."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.services.phone_numbers import REMOTE
from hushwire.store.messages import NewMessage
from hushwire.vault.buckets import DataKey
from hushwire.vault.keyring import OrgKeys
from hushwire.vault.seal import Columns

TABLE: Final = "messages"
THREAD: Final = "messages.thread"


@dataclass(frozen=True, slots=True)
class Draft:
    """A message in clear. `remote`: the number (+E.164) or name of the other side; `local`: ours. `body` None: its parts still come."""

    direction: str
    channel: str
    state: str
    at: datetime
    remote: str = field(repr=False)
    local: str = field(repr=False)
    body: str | None = field(repr=False)
    encoding: str | None = None
    parts: int = 1
    agent_id: UUID | None = None
    peer_agent_id: UUID | None = None
    number_id: UUID | None = None
    batch_id: UUID | None = None
    centre_id: UUID | None = None
    is_marketing: bool = False
    is_binary: bool = False
    keyword: str | None = None
    sent_by: str | None = None
    country: str | None = None
    number_class: str | None = None
    rules_version: int | None = None
    assembly_index: bytes | None = field(default=None, repr=False)
    received_as: bytes | None = field(default=None, repr=False)
    is_ended: bool = False


def sealed(draft: Draft, key: DataKey, keys: OrgKeys) -> NewMessage:
    """The row: its id is the key's."""
    columns = Columns(key.key)

    def closed(text: str, column: str) -> bytes:
        return columns.seal(text.encode(), table=TABLE, column=column, row=key.id, org=keys.org_id)

    is_outside = draft.direction != "internal"
    return NewMessage(
        id=key.id,
        direction=draft.direction,
        channel=draft.channel,
        state=draft.state,
        agent_id=draft.agent_id,
        peer_agent_id=draft.peer_agent_id,
        number_id=draft.number_id,
        batch_id=draft.batch_id,
        centre_id=draft.centre_id,
        created_at=draft.at,
        ended_at=draft.at if draft.is_ended else None,
        encoding=draft.encoding,
        parts=draft.parts,
        is_marketing=draft.is_marketing,
        is_binary=draft.is_binary,
        keyword=draft.keyword,
        sent_by=draft.sent_by,
        country=draft.country,
        number_class=draft.number_class,
        rules_version=draft.rules_version,
        sealed_with=key.id,
        remote_sealed=closed(draft.remote, "remote_sealed"),
        remote_index=keys.index(REMOTE, draft.remote) if is_outside else None,
        local_sealed=closed(draft.local, "local_sealed"),
        body_sealed=None if draft.body is None else closed(draft.body, "body_sealed"),
        thread_id=thread_of(keys, draft.local, draft.remote),
        assembly_index=draft.assembly_index,
        received_as=draft.received_as,
    )


def thread_of(keys: OrgKeys, one: str, other: str) -> UUID:
    """The id of what two write to each other: a keyed hash of both, whoever writes."""
    return UUID(bytes=keys.index(THREAD, "\0".join(sorted((one, other))))[:16], version=5)


@dataclass(frozen=True, slots=True)
class Opened:
    """What a row said; None where a column is empty."""

    remote: str | None = field(repr=False)
    local: str | None = field(repr=False)
    body: str | None = field(repr=False)


def opened(
    key: DataKey, org_id: UUID, row_id: UUID, remote_sealed: bytes | None, local_sealed: bytes | None, body_sealed: bytes | None
) -> Opened:
    """A row opened by its key."""
    columns = Columns(key.key)

    def read(value: bytes | None, column: str) -> str | None:
        return None if value is None else columns.open(value, table=TABLE, column=column, row=row_id, org=org_id).decode()

    return Opened(read(remote_sealed, "remote_sealed"), read(local_sealed, "local_sealed"), read(body_sealed, "body_sealed"))


def seal_body(key: DataKey, org_id: UUID, body: str) -> bytes:
    """The text of a message whose parts are all here."""
    return Columns(key.key).seal(body.encode(), table=TABLE, column="body_sealed", row=key.id, org=org_id)
