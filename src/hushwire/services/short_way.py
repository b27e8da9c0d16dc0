"""The short way of a REGISTER: one that repeats, byte for byte, what a phone said before is answered without being parsed.

It says 200 where the whole way would say it too, and refuses nothing. Before anything changes, all of this must hold:

1. registrations are taken here: the gateway is ready, and is not being emptied;
2. the bytes came by the flow, and fit the pattern, of a REGISTER that went the whole way and was answered 200 (sip/repeated.py);
3. nothing of its transaction was seen before, it did not come by another path, and there is room for one more;
4. the binding is there as it was left, for the same agent under the same rules and by the same credential; its CSeq is lower; nothing of
   the agent's has lapsed;
5. the credential opens still, is neither locked nor anybody's who is suspended, may ask once more, and its digest is right;
6. the nonce is fresh, and this count of it new. That is used up then, which is the first thing that changes.

Where the nonce is too old and nothing else is wrong, which most refreshes begin with, it says so with a new one, as the whole way would.
Whatever else fails goes the whole way, as if nobody had looked: what is refused there is refused by the words, strikes and logs of there.
Limits and bans of sources come before either way (transport/endpoint.py); alarms, batches of rows and retransmissions follow both.
"""

from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from hushwire.core.clock import Clock, Random
from hushwire.core.values import frozen
from hushwire.services.identity import Authenticator, answer_of, ha1_name_of, host_of
from hushwire.services.refreshing import Said, contacts_of
from hushwire.services.registration import Registrations
from hushwire.sip.digest import AnswerOf, Outcome
from hushwire.sip.effects import Send
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.sip.repeated import Pattern, Reply, call_id_of, lines_of, pattern_of, reply_of
from hushwire.sip.server_tx import fallback_of, stamped
from hushwire.sip.useragent import UserAgent

_MOST_TRIES: Final = 3
_MOST_CSEQ: Final = 2**31 - 1  # sip/headers.py reads no more


class Form:
    """How one phone writes its REGISTERs: the last that went the whole way, cut once the next one comes. It ends with their binding."""

    __slots__ = ("__weakref__", "contact", "cut", "data", "flow", "further", "has_fitted", "tries", "words")

    def __init__(self, data: bytes, flow: Flow, said: Said, tries: int) -> None:
        self.data = data
        self.flow = flow
        self.words = said.words
        self.contact = said.alone
        self.further = said.further
        self.cut: Cut | None = None
        self.has_fitted = False
        self.tries = tries
        """How many of this phone's forms before this one fitted nothing that came."""


@frozen(repr=False)
class Cut:
    """What a form is compared by, and answered with."""

    pattern: Pattern
    reply: Reply
    answers: AnswerOf
    ha1_name: str
    call_id: str
    host: str
    sent_by: str
    to_tag: str
    hop: Hop
    fallback: Hop | None


class ShortWay:
    """Of one gateway. `is_open` says whether registrations are taken now, `is_silent` of which requests strangers get no answer."""

    def __init__(
        self,
        engine: UserAgent,
        registrations: Registrations,
        authenticator: Authenticator,
        clock: Clock,
        random: Random,
        product: str,
        *,
        is_open: Callable[[], bool],
        is_silent: Callable[[Request], bool],
    ) -> None:
        self._engine = engine
        self._registrations = registrations
        self._authenticator = authenticator
        self._monotonic = clock.monotonic
        self._random = random
        self._product = product
        self._is_open = is_open
        self._is_silent = is_silent
        self._forms: WeakValueDictionary[bytes, Form] = WeakValueDictionary()  # by Call-ID
        self.taken = 0
        """How many went this way since the start."""
        registrations.form_of = self.form_of

    def answer(self, data: bytes, flow: Flow) -> Send | None:
        """What is left to send to a REGISTER that is answered otherwise; None: it goes the whole way, and nothing has happened."""
        form = self._forms.get(call_id_of(data))
        if form is None or not (form.flow is flow or form.flow == flow) or not self._is_open():
            return None
        cut = form.cut or self._cut(form)
        new = None if cut is None else cut.pattern.read(data)
        if cut is None or new is None or (number := int(new.digits)) > _MOST_CSEQ:
            return None
        form.has_fitted, now = True, self._monotonic()
        key = (new.branch.decode(), cut.sent_by, "REGISTER")
        merge_key = (new.from_tag.decode(), cut.call_id, f"{number} REGISTER")
        if not self._engine.is_first(key, merge_key, now=now):
            return None
        known = self._authenticator.recognise(cut.answers, cut.ha1_name, new, cut.host)
        if known is None:
            return None
        repeated = self._registrations.repeated(known, flow, cut.call_id, number, form.words, now)
        if repeated is None:
            return None
        outcome = self._authenticator.use(known, new, flow)
        if outcome is Outcome.OK:
            bindings = self._registrations.renew(known, repeated, number, now)
            answer = cut.reply.to(new, None if len(bindings) == 1 else lines_of((*contacts_of(bindings, now), *repeated.said.further)))
        elif outcome is Outcome.STALE:
            answer = cut.reply.to(new, lines_of(self._authenticator.ask_again(flow).headers), b"401 Unauthorized")
        else:
            return None
        is_challenge = outcome is Outcome.STALE
        self._engine.answered_at_once(key, merge_key, flow, cut.hop, answer, cut.to_tag, now=now, is_challenge=is_challenge)
        self.taken += 1
        return Send(cut.hop, answer, None, cut.fallback)

    def form_of(self, request: Request, flow: Flow, said: Said) -> Form | None:
        """What to know the next one by, now that this one made or refreshed the binding of `said`."""
        data, last = request.data, said.form
        if last is not None and last.tries >= _MOST_TRIES and not last.has_fitted:
            return last  # this phone writes in another way each time
        call_id = b"" if data is None else call_id_of(data)
        if data is None or not call_id:
            return None
        form = self._forms[call_id] = Form(data, flow, said, 0 if last is None or last.has_fitted else last.tries + 1)
        return form

    def _cut(self, form: Form) -> Cut | None:
        """What the form is compared by; None where it is written in no usual way, which is forgotten then."""
        request = parse(form.data)
        assert isinstance(request, Request)
        authorization = answer_of(request)
        pattern = None if authorization is None else pattern_of(form.data, request, authorization)
        if authorization is None or pattern is None or self._is_silent(request):
            del self._forms[call_id_of(form.data)]
            return None
        stamp, hop = stamped(request, form.flow)
        to_tag = self._random.token_bytes(6).hex()
        form.cut = Cut(
            pattern,
            reply_of(stamp, to_tag, (form.contact, *form.further), (("Server", self._product),) if self._product else ()),
            AnswerOf(authorization, request.method),
            ha1_name_of(authorization),
            request.call_id,
            host_of(request),
            request.via.sent_by,
            to_tag,
            hop,
            fallback_of(request, form.flow) if form.flow.transport.is_reliable else None,
        )
        form.data = b""
        return form.cut
