"""Requests of our own outside dialogs, asked for and waited for: OPTIONS and REGISTER towards carriers."""

import asyncio
from collections.abc import Sequence

from hushwire.sip.digest import Credentials
from hushwire.sip.effects import RequestId, Responded
from hushwire.sip.flow import Hop
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.transport.endpoint import SipEndpoint


class OwnRequests:
    """Sends, and gives each response to who waits for it."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self._endpoint = endpoint
        self._waiting: dict[RequestId, asyncio.Future[Responded]] = {}

    async def ask(
        self,
        method: str,
        *,
        hop: Hop,
        uri: SipUri,
        from_: NameAddr,
        to: NameAddr,
        silence_s: float,
        headers: Sequence[Line] = (),
        contact: NameAddr | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        cseq: int = 1,
    ) -> Responded:
        """The final response, or what the engine says where none comes (status 408 or 503, and the cause)."""
        request = self._endpoint.send(
            method,
            hop=hop,
            uri=uri,
            from_=from_,
            to=to,
            headers=headers,
            contact=contact,
            credentials=credentials,
            call_id=call_id,
            cseq=cseq,
            silence_s=silence_s,
        )
        future: asyncio.Future[Responded] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        try:
            return await future
        finally:
            self._waiting.pop(request, None)

    def take(self, event: Responded) -> bool:
        """Give a response to who waits for it; False where it is nobody's here."""
        future = self._waiting.get(event.request)
        if future is None:
            return False
        if not future.done():
            future.set_result(event)
        return True
