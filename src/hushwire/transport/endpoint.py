"""The SIP endpoint: sockets, one timer and the pure user agent. It moves bytes and decides nothing."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Final

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import ConfigError, LocalError
from hushwire.core.values import frozen, replace
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import Event, InDialogRequest, RequestReceived, Send, SubscriptionId
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Hop, Target, Transport
from hushwire.sip.message import Message, Request
from hushwire.sip.parse import parse
from hushwire.sip.routing import numeric
from hushwire.sip.subscriptions import HeldSubscription
from hushwire.sip.uri import NameAddr
from hushwire.sip.useragent import UserAgent, UserAgentConfig
from hushwire.transport import stun
from hushwire.transport.bans import Banned
from hushwire.transport.commands import Commands
from hushwire.transport.connection import Connection, StreamConnection
from hushwire.transport.datagrams import Datagrams
from hushwire.transport.limits import SourceLimiter
from hushwire.transport.listeners import Listeners
from hushwire.transport.moves import Moves
from hushwire.transport.names import Names
from hushwire.transport.places import Places
from hushwire.transport.sources import AddressSet, source_key
from hushwire.transport.websocket import WebSocketConnection

_log = structlog.get_logger(__name__)

_CONNECT_S: Final = 8.0
# The loop counts whole milliseconds from the one in which it woke up: an alarm that is set to the moment rings up to two before it, finds
# nothing due, is set again to less than one, and so on until then. A few more let it find several things due together.
_ALARM_LATE_S: Final = 0.005
# A message costs its source one more of its rate for each of these.
_COST_BYTES: Final = 4096
_INVITED: Final = re.compile(rb"INVITE ([!-~]{5,64}) ")
URGENT_PER_S: Final = 2.0
URGENT_BURST: Final = 20.0


@frozen
class Listen:
    """One listener, as `udp://127.0.0.1:5060` in the configuration; port 0 takes any free one."""

    transport: Transport
    host: str
    port: int


@frozen
class EndpointConfig:
    """What the endpoint listens on, and the limits that come before any state.

    `advertise` replaces the listening host in Via and Contact. `rate_per_s` and `burst` are messages of one source address;
    `trusted_hosts` (carriers) have no such limit. Connections count from TCP's on, and beside it those that have not said anything yet
    (`max_unproven`), and of one source those whose ClientHello has not come whole (`max_silent_per_source`). `handshake_s` is how long
    TLS's may take, `patience_s` how long one message or the first one, and `idle_s` closes silent connections.
    `admin_ports` are services of ours on this machine that no message makes us connect to. `origins` are the pages that may connect by
    WebSocket (None: any); after `ping_s` without a word such a connection is asked for a sign of life.
    """

    listen: tuple[Listen, ...]
    advertise: str | None = None
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None
    pinned_tls: ssl.SSLContext | None = None
    max_message: int = 65536
    max_connections: int = 4096
    max_connections_per_source: int = 512
    max_unproven: int = 1024
    max_silent_per_source: int = 64
    handshake_s: float = 5.0
    patience_s: float = 32.0
    idle_s: float = 600.0
    ping_s: float = 30.0
    origins: tuple[str, ...] | None = ()
    admin_ports: frozenset[int] = frozenset()
    rate_per_s: float = 500.0
    burst: float = 1000.0
    trusted_hosts: frozenset[str] = frozenset()
    product: str = "hushwire"
    user_agent: UserAgentConfig = field(default_factory=UserAgentConfig)


class SipEndpoint(Commands):
    """Listeners and connections around one UserAgent; each event goes to `on_event`, called on the loop.

    Commands are those of UserAgent without `now`; what they cause is told and sent before they return, unless the command was called from
    `on_event` or within `held`: then after it. Whatever one message or command causes, all events of it are told first, then `before_send`
    is called, and then everything is sent: what must be remembered of an answer can be written before anybody reads the answer.
    `on_flow_closed` learns of each connection that ended.
    """

    def __init__(
        self,
        config: EndpointConfig,
        clock: Clock,
        random: Random,
        on_event: Callable[[Event], None],
        on_flow_closed: Callable[[Flow], None] | None = None,
        before_send: Callable[[], None] | None = None,
    ) -> None:
        self.config = config
        self._monotonic = clock.monotonic
        self._random = random
        self._on_event = on_event
        self._on_flow_closed = on_flow_closed
        self._before_send = before_send
        self._limiter = SourceLimiter(config.rate_per_s, config.burst)
        self._urgent = SourceLimiter(URGENT_PER_S, URGENT_BURST)
        self.is_urgent: Callable[[str], bool] = lambda _target: False
        """Whether the Request-URI of an INVITE may be an emergency call's; asked only of sources that have used up their rate."""
        self._trusted = AddressSet(config.trusted_hosts)
        self._spared = AddressSet()
        self.banned = Banned()
        self.ignores: Callable[[Request, Flow], bool] = lambda _request, _flow: False
        self.short_way: Callable[[bytes, Flow], Send | None] = lambda _data, _flow: None
        """Asked first of the bytes of each REGISTER: the answer, where that is known without parsing it (services/short_way.py)."""
        self._ua: UserAgent | None = None
        self._addresses: dict[Transport, Address] = {}
        self._udp: dict[int, Datagrams] = {}
        self._connections: dict[int, Connection] = {}
        self._places = Places(config.max_connections, config.max_connections_per_source, config.max_unproven)
        self._targets: dict[Target, Connection] = {}
        self._moves = Moves()
        self._opening: dict[Target, list[Send]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._names = Names()
        self._listeners = Listeners(self, self._places, config.server_tls, config.handshake_s, config.max_silent_per_source)
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._is_flushing = False
        self.holders = 0
        """How many `held` are not over yet."""
        self._held = _Held(self)
        self._is_closed = False
        self._next_id = 0
        self.forward: Callable[[Message, Flow], Sequence[Send] | None] | None = None
        """Sees each message first: what it sends for one that only passes through (sip/forward.py), None for one that is for us."""

    # ------------------------------------------------------------------------------------------------------- running

    async def start(self, dialogs: Iterable[Dialog] = ()) -> None:
        """Bind all listeners, and go on with `dialogs` of a process before this one. Raises ConfigError naming what can't be bound."""
        for listen in self.config.listen:
            try:
                port = await self._bind(listen)
            except OSError as error:
                await self.close()
                raise ConfigError(
                    f"[sip] listen: {listen.transport}://{listen.host}:{listen.port} can't be bound ({error.strerror}): "
                    "name a free port of this machine"
                ) from error
            self._addresses.setdefault(listen.transport, Address(listen.host, port))
        sent_by = {name: Address(self.config.advertise or address.host, address.port) for name, address in self._addresses.items()}
        given = replace(self.config.user_agent, sent_by=sent_by, product=self.config.product, local_towards=self.local_towards)
        self._ua = UserAgent(given, self._random)
        for dialog in dialogs:
            self._ua.adopt(replace(dialog, hop=self._adopted_hop(dialog.hop)), now=self.now())

    def restore_subscription(self, held: HeldSubscription) -> SubscriptionId:
        """Go on with a peer's subscription of a process before this one. Call it before anything else after `start`."""
        dialog = replace(held.dialog, hop=self._adopted_hop(held.dialog.hop))
        return self.ua.restore_subscription(replace(held, dialog=dialog), now=self.now())

    def adopted(self, flow: Flow) -> Flow:
        """The flow of a process before this one, here. A connection stays gone until its peer comes back on another one."""
        if flow.transport is not Transport.UDP:
            return replace(flow, id=-abs(flow.id))  # the id of no connection of ours
        family = socket.AF_INET6 if ":" in flow.remote.host else socket.AF_INET
        sockets = {id_: item for id_, item in self._udp.items() if item.family == family}
        id_ = next((id_ for id_, item in sockets.items() if item.local.port == flow.local.port), next(iter(sockets), -abs(flow.id)))
        return replace(flow, id=id_)

    def _adopted_hop(self, hop: Hop) -> Hop:
        return self.adopted(hop) if isinstance(hop, Flow) else hop

    async def _bind(self, listen: Listen) -> int:
        if listen.transport is not Transport.UDP:
            return await self._listeners.open(listen.transport, listen.host, listen.port)
        id_ = self._new_id()
        datagrams = self._udp[id_] = Datagrams(
            id_, listen.host, listen.port, self.admits_datagram, self.received_datagram, self.local_towards
        )
        return datagrams.local.port

    def connection(self, transport: Transport, *, has_place: bool = False, to: Target | None = None) -> Connection:
        """A new one, not open yet; `has_place`: it was let in already, `to`: we open it."""
        kind = WebSocketConnection if transport.is_websocket else StreamConnection
        return kind(self, transport, self._new_id(), has_place=has_place, to=to)

    async def close(self) -> None:
        """Close listeners and connections."""
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._listeners.close()
        for connection in list(self._connections.values()):
            connection.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # One turn of the loop for the closing connections' last bytes.
        await asyncio.sleep(0)
        for datagrams in self._udp.values():
            datagrams.close()
        await self._listeners.wait_closed()
        await asyncio.sleep(0)  # and one in which the sockets are really closed

    @property
    def ua(self) -> UserAgent:
        """The engine; after a command on it directly, call `flush`."""
        if self._ua is None:
            raise LocalError("the SIP endpoint is not started")
        return self._ua

    @property
    def addresses(self) -> dict[Transport, Address]:
        """Where we listen, with the real ports."""
        return dict(self._addresses)

    def trust(self, hosts: Iterable[str], spared: Iterable[str] = ()) -> None:
        """Replace the addresses and networks that have no rate limit (carriers'), and those that no ban concerns besides."""
        trusted = list(hosts)
        self._trusted = AddressSet(trusted)
        self._spared = AddressSet([*trusted, *spared])

    def is_banned(self, host: str) -> bool:
        """Whether what comes from this address gets no answer."""
        return bool(self.banned.until) and self.banned.covers(host, self._monotonic()) and host not in self._spared

    def cut_off(self) -> None:
        """End the connections of who is banned by now."""
        for connection in list(self._connections.values()):
            if connection.flow is not None and self.is_banned(connection.flow.remote.host):
                connection.abort()

    def follow(self, old: Flow, new: Flow) -> bool:
        """Send what is meant for `old` by `new`: its peer proved to be there now. False where transports differ: then nothing changes."""
        if not self._moves.note(old, new):
            return False
        self.ua.heard_at(lambda hop: isinstance(hop, Flow) and self._moves.now(hop) == new, now=self.now())
        self.flush()
        return True

    def can_reach(self, transport: Transport, address: str) -> bool:
        """Whether there is a way to send to such an address at all: UDP goes out by the sockets that are bound."""
        if transport is not Transport.UDP:
            return not transport.is_websocket
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return any(datagrams.family == family for datagrams in self._udp.values())

    def contact(self, hop: Hop, user: str | None = None) -> NameAddr:
        """What we are reached at by whoever hears from us by `hop`; `user` as it stands in a URI, escaped."""
        own = self.ua.contact(hop)
        return own if user is None else NameAddr(replace(own.sip_uri, user=user))

    def now(self) -> float:
        """The monotonic second that the engine lives in."""
        return self._monotonic()

    # -------------------------------------------------------------------------------------------------------- inputs

    def admits_datagram(self, data: bytes, host: str) -> bool:
        """Whether a datagram may be kept until its turn. Keep-alives of empty lines and zero bytes may not."""
        size = len(data)
        if not 20 <= size <= self.config.max_message or (self.banned.until and self.is_banned(host)):
            return False
        return self.admits(host, size) or self._is_urgent(host, data)

    def admits_message(self, host: str, data: bytes) -> bool:
        """As `admits`, of a message that is there. One that may be an emergency call has a rate of its own, which no other uses up."""
        return self.admits(host, len(data)) or self._is_urgent(host, data)

    def _is_urgent(self, host: str, data: bytes) -> bool:
        target = _INVITED.match(data)
        if target is None or not self.is_urgent(target[1].decode("ascii")):
            return False
        return self._urgent.admit(source_key(host), self.now())

    def received_datagram(self, data: bytes, flow: Flow) -> None:
        """One datagram that was admitted. A keep-alive by STUN learns where it was seen from."""
        if data[0] < 0x20 and not data.startswith(b"\r\n"):
            pong = stun.answer(data, flow.remote)
            if pong is not None:
                self._udp[flow.id].send(pong, flow.remote)
            return
        if data.startswith(b"REGISTER ") and self.went_short_way(data, flow):
            return
        item: Message | ParseError
        try:
            item = parse(data)
        except ParseError as error:
            item = error
        self._take(item, flow)

    def went_short_way(self, data: bytes, flow: Flow) -> bool:
        """Whether a REGISTER that was admitted is answered by now, and is not to be parsed."""
        try:
            send = self.short_way(data, flow)
        except Exception as error:
            _report("sip.message_failed", error)
            return False
        if send is None:
            return False
        self._send(send)
        self._arm()
        return True

    def received(self, item: Message | ParseError, flow: Flow) -> None:
        """One message of a connection, which asked `admits` before it parsed it."""
        self._take(item, flow)

    def enters(self, host: str, transport: Transport, *, is_ours: bool = False) -> bool:
        """Whether one more connection of this source may stay; it then has a place until `leaves`. What we open ourselves always may."""
        if not is_ours and self.is_banned(host):
            return False
        if not self._is_closed and self._places.take(host, is_exempt=is_ours or host in self._trusted):
            return True
        _log.warning("sip.connection_refused", transport=transport.value, connections=self._places.taken)
        return False

    def leaves(self, host: str) -> None:
        """A place is free again."""
        self._places.free(host)

    def opened(self, connection: Connection, flow: Flow) -> bool:
        """Whether a new connection may stay."""
        if not connection.has_place and not self.enters(flow.remote.host, flow.transport, is_ours=connection.to is not None):
            return False
        self._connections[flow.id] = connection
        if connection.to is None:
            self._places.expect(flow.id, flow.remote.host, connection.abort)
        return True

    def proven(self, flow: Flow) -> None:
        """A connection brought its first message."""
        self._places.proven(flow.id)

    def closed(self, connection: Connection, flow: Flow) -> None:
        """A connection ended."""
        if self._connections.pop(flow.id, None) is None:
            return
        self._places.proven(flow.id)
        self.leaves(flow.remote.host)
        targets = [target for target, known in self._targets.items() if known is connection]
        for target in targets:
            del self._targets[target]
        if self._is_closed:
            return
        hops: list[Hop] = [flow, *targets]
        for hop in hops:
            self.ua.flow_closed(hop, self.now())
        self.flush()
        if self._on_flow_closed is not None:
            try:
                self._on_flow_closed(flow)
            except Exception as error:
                _report("sip.event_failed", error, event_type="Flow")

    def admits(self, host: str, size: int) -> bool:
        """Whether a message of so many bytes may be parsed; False where its source has used up its rate."""
        if host in self._trusted:
            return True
        return self._limiter.admit(source_key(host) if ":" in host else host, self._monotonic(), 1.0 + size // _COST_BYTES)

    def is_open(self, flow: Flow) -> bool:
        """Whether something can be sent by this flow still."""
        return flow.id in (self._udp if flow.transport is Transport.UDP else self._connections)

    def _take(self, item: Message | ParseError, flow: Flow) -> None:
        ua = self._ua
        if ua is None:
            return  # not all listeners are bound yet: as good as lost on the way
        # A bad message must never end the loop, whatever it does to the engine.
        try:
            if self.forward is not None and not isinstance(item, ParseError) and (passing := self.forward(item, flow)) is not None:
                for send in passing:
                    self._send(send)
                return
            if isinstance(item, ParseError):
                ua.receive_malformed(item, flow)
            elif isinstance(item, Request) and not item.to_tag and flow.remote.host not in self._spared and self.ignores(item, flow):
                return  # before there is a transaction of it
            else:
                ua.receive(item, flow, self._monotonic())
        except Exception as error:
            _report("sip.message_failed", error)
        self.flush()

    # ------------------------------------------------------------------------------------------------------- effects

    def pass_on(self, sends: Iterable[Send]) -> None:
        """Send what is another gateway's to answer: the engine has given it up."""
        for send in sends:
            self._send(send)

    def held(self) -> AbstractContextManager[None]:
        """Tell and send nothing of what is commanded meanwhile before the end."""
        return self._held

    def flush(self) -> None:
        """Carry out what the engine asks for, tell what it tells, and set the alarm."""
        if self._is_flushing or self.holders or self._is_closed:
            return
        ua = self.ua
        effects = ua.effects
        if effects:
            self._is_flushing = True
            try:
                sends: list[Send] = []
                try:
                    for effect in effects:  # it grows while events are told
                        if isinstance(effect, Send):
                            sends.append(effect)
                        else:
                            self._tell(effect)
                finally:
                    effects.clear()
                if sends:
                    if self._before_send is not None:
                        self._before_send()
                    for send in sends:
                        self._send(send)
            finally:
                self._is_flushing = False
        self._arm()

    def _arm(self) -> None:
        at = self.ua.deadline()
        # A later deadline lets the old alarm ring: that is cheaper than re-arming at each message.
        if at is not None and at < self._alarm_at:
            self._set_alarm(at)

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception as error:
            _report("sip.event_failed", error, event_type=type(event).__name__)
            if isinstance(event, RequestReceived | InDialogRequest):
                self.ua.respond(event.tx, 500, now=self.now())

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, at - self.now()) + _ALARM_LATE_S, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._alarm_at = float("inf")
        try:
            self.ua.handle_timer(self.now())
        except Exception as error:
            _report("sip.timer_failed", error)
        self.flush()

    def _send(self, send: Send) -> None:
        hop = send.hop
        if isinstance(hop, Flow):
            if self._moves.moved:
                hop = self._moves.now(hop)
            if hop.transport is Transport.UDP:
                datagrams = self._udp.get(hop.id)
                if datagrams is None or not datagrams.send(send.data, hop.remote):
                    self._failed(send)
                return
            connection = self._connections.get(hop.id)
            if connection is not None and connection.send(send.data):
                return
            if isinstance(send.fallback, Target):
                self._send(Send(send.fallback, send.data, send.transaction))
            else:
                self._failed(send)
        elif hop.transport is Transport.UDP:
            address = self._names.known(hop, self._monotonic())
            if address is None:
                self.spawn(self._send_once_found(send, hop))
            else:
                self._send_to(send, address)
        else:
            known = self._targets.get(hop)
            if known is not None and known.send(send.data):
                return
            waiting = self._opening.get(hop)
            if waiting is not None:
                waiting.append(send)
                return
            self._opening[hop] = [send]
            self.spawn(self._connect(hop))

    def _failed(self, send: Send) -> None:
        if send.transaction is None or self._is_closed:
            return
        # Later, so that a command returns its id before the event about it is told.
        asyncio.get_running_loop().call_soon(self._tell_failed, send.transaction)

    def _tell_failed(self, transaction: str) -> None:
        if not self._is_closed:
            self.ua.send_failed(transaction, self.now())
            self.flush()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that ends with the endpoint."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self, target: Target) -> None:
        """Open a connection and send what waits for it; where that fails, its transactions fail."""
        loop = asyncio.get_running_loop()
        context = None
        connection: Connection | None = None
        try:
            if target.transport.is_websocket:
                raise LocalError("WebSocket connections are opened by the other side alone (RFC 7118 section 5)")
            if self._is_own_service(target):
                raise LocalError("the peer names a service of ours that is not SIP")
            if target.transport is Transport.TLS:
                context = self.config.pinned_tls if target.pins else self.config.client_tls
                if context is None:
                    raise LocalError("no CA is configured for outgoing TLS")
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(
                    lambda: self.connection(target.transport, to=target),
                    target.host,
                    target.port,
                    ssl=context,
                    server_hostname=(target.tls_name or target.host) if context is not None else None,
                )
        except (OSError, TimeoutError, LocalError, UnicodeError) as error:
            # ssl.SSLError is an OSError: a certificate that does not verify ends here too.
            _log.warning("sip.connect_failed", transport=target.transport.value, error=type(error).__name__)
        waiting = self._opening.pop(target, [])
        if connection is not None and connection.flow is not None:
            self._targets[target] = connection
        for send in waiting:
            # An INVITE whose caller gave up meanwhile must not begin a call that nobody is in.
            is_wanted = send.transaction is None or self.ua.awaits(send.transaction)
            if is_wanted and (connection is None or not connection.send(send.data)):
                self._failed(send)

    def _is_own_service(self, target: Target) -> bool:
        """Whether this is another service of this machine: Via could name its port, and the answer to a lost connection would go there."""
        if target.port not in self.config.admin_ports:
            return False
        address = numeric(target.host)
        own = {self.config.advertise, *(listen.host for listen in self._addresses.values())}
        return address is not None and (address.is_loopback or target.host in own or self.local_towards(target.host) == target.host)

    async def _send_once_found(self, send: Send, target: Target) -> None:
        address = await self._names.find(target, {datagrams.family for datagrams in self._udp.values()}, self.now)
        if address is None:
            self._failed(send)
        else:
            self._send_to(send, address)

    def _send_to(self, send: Send, address: Address) -> None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        for datagrams in self._udp.values():
            if datagrams.family == family:
                if not datagrams.send(send.data, address):
                    break
                return
        self._failed(send)

    # ------------------------------------------------------------------------------------------------------- details

    def local_towards(self, remote: str) -> str:
        """Our address on the way to `remote`, where a socket is bound to all; for a name that of the default route."""
        return self._names.local_towards(remote)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id


class _Held(AbstractContextManager[None]):
    """The one that every `with endpoint.held()` enters: they may be within each other."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        self._endpoint.holders += 1

    def __exit__(self, *_: object) -> None:
        self._endpoint.holders -= 1
        self._endpoint.flush()


def _report(name: str, error: Exception, **fields: str) -> None:
    """Log where something of ours broke, never the words: they may hold a peer's bytes."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace is not None else "?"
    _log.error(name, error=type(error).__name__, where=where, **fields)
