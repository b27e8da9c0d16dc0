"""Answers to digest challenges that our requests meet (RFC 3261 section 22.2), and what was learned of a peer for the next request."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hushwire.sip.digest import Challenge, Credentials, authorization, choose_challenge
from hushwire.sip.flow import Hop
from hushwire.sip.headers import Line
from hushwire.sip.message import Response
from hushwire.sip.outgoing import Outgoing

# A first answer to a challenge, and a second one where the carrier says that only the nonce was old.
_MOST_TRIES: Final = 3
_MOST_KEPT: Final = 256


class Challenges:
    """The last challenge of each peer, with how often its nonce was used. `token` makes cnonces."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token
        self._kept: OrderedDict[tuple[Hop, Credentials], tuple[str, Challenge, int]] = OrderedDict()

    def known(self, outgoing: Outgoing) -> list[Line]:
        """The answer to what the peer asked last time, so that it does not have to ask again."""
        kept = None if outgoing.credentials is None else self._kept.get((outgoing.hop, outgoing.credentials))
        return [] if kept is None or outgoing.credentials is None else [self._answer(outgoing, outgoing.credentials, *kept)]

    def line(self, outgoing: Outgoing, response: Response) -> Line | None:
        """The answer to a challenge in a response; None where it holds none, or none that is ours to answer."""
        credentials = outgoing.credentials
        if response.status not in (401, 407) or credentials is None or outgoing.tries >= _MOST_TRIES:
            return None
        challenge_name, answer_name = (
            ("WWW-Authenticate", "Authorization") if response.status == 401 else ("Proxy-Authenticate", "Proxy-Authorization")
        )
        challenge = choose_challenge(response.headers.all(challenge_name), credentials)
        if challenge is None:
            return None
        # The same challenge again without `stale` means that our password is wrong.
        if outgoing.nonce is not None and outgoing.tries > 1 and not challenge.is_stale:
            return None
        if outgoing.nonce == challenge.nonce:
            return None
        return self._answer(outgoing, credentials, answer_name, challenge, 0)

    def _answer(self, outgoing: Outgoing, credentials: Credentials, name: str, challenge: Challenge, used: int) -> Line:
        uri = outgoing.uri if outgoing.session is None else outgoing.session.dialog.request_lines()[0]
        value = authorization(
            challenge,
            credentials,
            method=outgoing.method,
            uri=uri,
            body=outgoing.body,
            cnonce=self._token(),
            nc=used + 1,
        )
        outgoing.nonce = challenge.nonce
        key = (outgoing.hop, credentials)
        self._kept[key] = (name, challenge, used + 1)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return (name, value)
