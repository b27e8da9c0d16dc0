"""What events are about, opened for a webhook that an owner granted it to: numbers and words, and of them only what was granted."""

from collections.abc import Mapping, Sequence
from typing import Any

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import CallId, OrgId
from hushwire.services.message_bodies import MessageBodies
from hushwire.services.queries import Queries
from hushwire.store.events import FeedEvent
from hushwire.vault.unseal import Why


class MessageContents:
    """Of messages: who wrote to whom, and what. Nothing of one that was erased or is restricted."""

    def __init__(self, bodies: MessageBodies) -> None:
        self._bodies = bodies

    async def of(self, org_id: OrgId, event: FeedEvent, grants: Sequence[str], why: Why) -> Mapping[str, Any] | None:
        """See `webhook_delivery.Contents`."""
        if not event.kind.startswith("message."):
            return None
        opened = await self._bodies.texts(org_id, [event.subject], why)
        found = opened.get(event.subject)
        if found is None and event.subject in opened:
            raise KeyUnavailable("a message can't be opened now")
        if found is None:
            return None
        said: dict[str, Any] = {}
        if "numbers" in grants:
            ours, theirs = found.local.reveal(), found.remote.reveal()
            said |= {"from": theirs, "to": ours} if found.direction == "inbound" else {"from": ours, "to": theirs}
        if "bodies" in grants:
            said["text"] = found.text.reveal()
        return said


class CallContents:
    """Of calls: the number on the far side, as the call's row shows it."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def of(self, org_id: OrgId, event: FeedEvent, grants: Sequence[str], why: Why) -> Mapping[str, Any] | None:
        """See `webhook_delivery.Contents`."""
        if not event.kind.startswith("call.") or "numbers" not in grants:
            return None
        view = await self._queries.call(org_id, why, CallId(event.subject))
        return None if view is None or view.remote is None else {"remote": view.remote}
