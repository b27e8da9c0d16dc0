"""The gateway role: SIP, call control and the control of media, wired together.

Stops within the supervisor's patience: no new calls, BYE to both sides of the live ones, their rows written, then out.
"""

import asyncio
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.app import garbage, logs, shaken
from hushwire.app.certificates import served
from hushwire.app.config import Config, bracketed
from hushwire.app.processes import first_of
from hushwire.app.wiring import Wired
from hushwire.core.ids import AgentId, OrgId
from hushwire.core.rounds import for_each
from hushwire.media.link import MediaLink
from hushwire.media.model import DtlsDatagram, Greeting, MediaEvent
from hushwire.policy.judge import Judge
from hushwire.policy.model import Allow, Attempt, Reason, Verdict
from hushwire.policy.rules import Rules
from hushwire.services import adoption
from hushwire.services.access_news import AccessNews
from hushwire.services.bans import Bans
from hushwire.services.bindings import Bindings
from hushwire.services.call_taking import CallTaking
from hushwire.services.calling import Calling
from hushwire.services.colleagues import Colleagues
from hushwire.services.commands import Commands
from hushwire.services.directory import Directory
from hushwire.services.elsewhere import Elsewhere
from hushwire.services.emergencies import may_call_for_help
from hushwire.services.features import Feature
from hushwire.services.fraud import Breaker
from hushwire.services.fraud_minting import LockMinting
from hushwire.services.fraud_sharing import FraudSharing, alarm_writer
from hushwire.services.greetings import Greetings
from hushwire.services.guard import Guard
from hushwire.services.handing_over import HandingOver
from hushwire.services.heartbeat import Heartbeat
from hushwire.services.identity import Authenticator
from hushwire.services.keepalive import KeepAlive
from hushwire.services.kept import Kept, read_all
from hushwire.services.kept_subscriptions import NAME as SUBSCRIPTIONS
from hushwire.services.kept_subscriptions import KeptWatch, SubscriptionJournal
from hushwire.services.lines import Lines
from hushwire.services.message_sending import MessageSending
from hushwire.services.message_waiting import PACKAGE as WAITING
from hushwire.services.message_waiting import MessageWaiting
from hushwire.services.neighbours import Neighbours
from hushwire.services.orphans import Orphans
from hushwire.services.pickup_names import PickupNames, pickup_name
from hushwire.services.presence import DIALOG, PRESENCE, DialogPackage, PresencePackage
from hushwire.services.records import Records
from hushwire.services.registration import Registrations
from hushwire.services.risk_packs import RiskPacks
from hushwire.services.routing import Router
from hushwire.services.shared_counts import Count, SharedCounts
from hushwire.services.short_way import ShortWay
from hushwire.services.signing_certificates import SigningCertificates
from hushwire.services.sound_library import SoundLibrary, check
from hushwire.services.standing_work import StandingWork
from hushwire.services.subscriptions import OF_SUBSCRIPTIONS, Notifier
from hushwire.services.text_delivery import TextDelivery
from hushwire.services.text_reading import TextAsking
from hushwire.services.texting import Texting
from hushwire.services.trunks import Trunks
from hushwire.services.verdicts import denied
from hushwire.services.voicemail_boxes import VoicemailBoxes
from hushwire.services.voicemail_reading import Asking
from hushwire.sip.core import UserAgentConfig
from hushwire.sip.dialog import FROM_CHANGE
from hushwire.sip.digest import Challenger
from hushwire.sip.effects import Event, RequestReceived, Responded, SubscriptionId
from hushwire.sip.flow import Address, Flow, Hop, Transport
from hushwire.sip.forward import Forwarder
from hushwire.sip.message import Request
from hushwire.sip.subscriptions import HeldSubscription
from hushwire.store import nodes
from hushwire.transport.endpoint import EndpointConfig, Listen, SipEndpoint
from hushwire.transport.lookups import Lookups
from hushwire.transport.scanners import NAMES, Silence
from hushwire.transport.tls import client_context, pinned_context, server_context
from hushwire.vault.journal import NAME as CALLS
from hushwire.vault.journal import Journal
from hushwire.vault.pool import KeyPool

END_CALLS_S: Final = 1.8
TIDY_S: Final = 30.0
MOST_EARLY: Final = 2_000
"""So many phones may wait to be registered while the gateway begins."""
EVENTS: Final = (DIALOG, WAITING, PRESENCE)
"""The event packages that agents may subscribe to."""
_log = structlog.get_logger(__name__)


class Gateway:
    """Everything that one gateway process holds."""

    def __init__(self, wired: Wired) -> None:
        self._wired = wired
        config, clock, random = wired.config, wired.clock, wired.random
        self._started_at = clock.now()
        self.endpoint = SipEndpoint(endpoint_config(wired), clock, random, self._on_sip, self._on_flow_closed, self._before_send)
        self.journal = open_journal(wired)
        self.subscription_journal = SubscriptionJournal(open_journal(wired, SUBSCRIPTIONS))
        self._early: list[Event | MediaEvent] = []
        self.link = MediaLink(wired.folders.media_socket, self._next_epoch, self, self._on_dtls)
        self.pool = KeyPool(wired.keyring, clock, random, size=16, most=256)
        self.records = Records(wired.main)
        self._judge = Judge()
        self.risk_packs = RiskPacks(config.risk_pack_folder, config.risk_packs.keys)
        self.work = StandingWork("gateway", clock)
        limits = config.limits
        self.guard = Guard(
            Bans(wired.main, wired.keyring, clock, random),
            self.endpoint.banned,
            clock,
            failures=limits.failures,
            within_s=limits.failures_within_s,
            ban_s=limits.ban_s,
            never=limits.never_ban,
            on_banned=self.endpoint.cut_off,
            per_credential_s=limits.requests_per_second_per_credential,
        )
        sounds = config.sounds
        self._library = SoundLibrary(sounds.files(), {slug: own.files() for slug, own in sounds.orgs.items()})
        self._config = config
        self._signing_certificates: SigningCertificates | None = None
        self._new_orgs = asyncio.Event()
        self.is_ready = False

    async def run(self) -> None:
        """Serve until `wired.stop` is set, then end cleanly."""
        wired = self._wired
        for path in self._config.sounds.paths():
            await asyncio.to_thread(check, path)
        kept, unread = read_all(self.journal.recover())
        subscribed = self.subscription_journal.recover(wired.clock.now())
        await self.endpoint.start(adoption.dialogs(kept))
        watches = self._adopt_subscriptions(subscribed)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._assemble()
            await asyncio.to_thread(self.risk_packs.look)
            await self.risk_packs.share(wired.main, wired.clock)
            await self.directory.load()
            await self.registrations.load()
            self._trust()
            await self.link.start()
            await self._adopt(kept, unread, watches)
            for name, work in (
                ("directory", lambda: self.directory.watch(self._directory_changed)),
                ("risk-packs", lambda: self.risk_packs.run(wired.main, wired.clock)),
                ("registrations", self.registrations.run),
                ("bindings-written", self.bindings.run),
                ("keepalive", self._keep_alive),
                ("bindings-followed", self.bindings.follow),
                ("bans", self.guard.run),
                ("commands", self.commands.run),
                ("call-requests", self.call_taking.run),
                ("orphans", self.orphans.run),
                ("heartbeat", self.heartbeat.run),
                ("keys", self._prepare_keys),
                ("trunks", self.trunks.run),
                ("shared-counts", self.counts.run),
                ("fraud", self.fraud.run),
                ("fraud-meter", self.fraud.meter),
                ("notifier", self.notifier.run),
                ("message-waiting", self.waiting.run),
                ("colleagues", self.colleagues.run),
                ("parked", self._tidy_parked),
                ("access-news", self.news.run),
                ("texts", self.texts.run),
                ("journal", self._tidy_journal),
                ("garbage", lambda: garbage.collect(wired.clock, lambda: not self.calling.table.calls)),
                ("work-states", lambda: self.work.tell(wired.main, wired.node_id)),
            ):
                tasks.append(asyncio.create_task(self.work.kept_up(name, work), name=name))
            addresses = [
                f"{transport.value}://{bracketed(address.host)}:{address.port}" for transport, address in self.endpoint.addresses.items()
            ]
            _log.info("gateway.ready", sip=addresses, node=str(wired.node_id))
            wired.ready({"sip": addresses})
            await first_of(wired.stop, wired.drain)
            if not wired.stop.is_set():
                await self._drain()
            _log.info("gateway.stopping", calls=sum(1 for _ in self.calling.live))
            await self.calling.close(END_CALLS_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._signing_certificates is not None:
                await self._signing_certificates.close()
            await self.link.close()
            await self.endpoint.close()
            await self.pool.close()
            for journal in (self.journal, self.subscription_journal):
                journal.tidy()
                journal.close()

    async def _tidy_journal(self) -> None:
        """What is over leaves the journal's file soon: an erasure must not leave its numbers there."""
        while True:
            await asyncio.sleep(TIDY_S)
            self.calling.journal.tidy()
            self.journal.tidy()
            self.subscription_journal.tidy()

    async def _tidy_parked(self) -> None:
        """Once: what the process before this one left in slots, and its rooms."""
        await self.elsewhere.tidy(self.calling.transfers.park.held)
        await self.elsewhere.close_rooms_but(self.calling.conferences.has)
        await asyncio.Event().wait()

    async def _drain(self) -> None:
        """Let calls end by themselves; who wants a new one is sent elsewhere (RFC 3261 section 21.5.4)."""
        drain_s = self._config.limits.drain_s
        _log.info("gateway.draining", calls=sum(1 for _ in self.calling.live), longest_s=drain_s)
        # A proxy in front that asks us by OPTIONS takes the 503 as the sign to send its calls to others.
        self.endpoint.ua.answer_options(False)
        left = await self.calling.drain(drain_s, self._wired.stop)
        self.notifier.go()
        _log.info("gateway.drained", calls_left=left)

    def _adopt_subscriptions(self, kept: Iterable[KeptWatch]) -> list[tuple[SubscriptionId, KeptWatch]]:
        """Have the engine know them before the first message is heard."""
        wall = self._wired.clock.now()
        found = []
        for one in kept:
            held = HeldSubscription(one.dialog, one.event, (one.expires_at - wall).total_seconds())
            found.append((self.endpoint.restore_subscription(held), one))
        return found

    async def _adopt(self, kept: Mapping[UUID, Kept], unread: list[UUID], watches: list[tuple[SubscriptionId, KeptWatch]]) -> None:
        """Go on with the calls of the process before this one, then hear what came meanwhile."""
        for name in unread:
            _log.error("journal.call_unreadable", call_id=str(name), why="another version wrote it; the call ends as an orphan")
            self.calling.journal.drop(name)
        wired = self._wired
        going_on = adoption.Adoption(self.calling, self.endpoint, self.directory, self.registrations, self.link, wired.clock, wired.random)
        await going_on.run(kept)
        self.calling.obey_directory()
        for id_, watch in watches:
            self.notifier.adopt(id_, watch)
        self.is_ready = True
        self.endpoint.ua.answer_options(True)
        early, self._early = self._early, []
        for event in early:
            if isinstance(event, MediaEvent):
                self.media_event(event)
            else:
                self._on_sip(event)

    def _before_send(self) -> None:
        if self.is_ready:
            self.calling.journal.commit()
            self.subscription_journal.commit()

    async def _assemble(self) -> None:
        wired, sip = self._wired, self._config.sip
        addresses = self.endpoint.addresses
        hosts = {address.host for address in addresses.values()} - {"0.0.0.0", "::"}
        if self._config.media.advertise is not None:
            hosts.add(self._config.media.advertise)
        self.directory = Directory(
            wired.main,
            wired.keyring,
            wired.clock,
            domain=sip.domain,
            default_org=sip.default_org,
            addresses=hosts,
            ports={address.port for address in addresses.values()},
            packs=self.risk_packs.packs,
        )
        challenger = Challenger(wired.random.token_bytes(32), sip.domain, wired.random)
        authenticator = Authenticator(
            self.directory, challenger, wired.clock.monotonic, self.guard, lambda org, _, *asked: router.calls_for_help(org, *asked)
        )
        self.endpoint.is_urgent = lambda target: may_call_for_help(target, self.directory.homes())
        names = self._config.limits.scanners
        self._silence = Silence(sip.domain, NAMES if names is None else names)
        self.endpoint.ignores = self._ignores
        self.neighbours = Neighbours(wired.node_id, self.directory.between_nodes, self._trust)
        self.bindings = Bindings(wired.main, self.directory, self.neighbours, wired.clock, wired.random, wired.node_id)
        self.registrations = Registrations(
            self.bindings,
            self.directory,
            authenticator,
            self._decide,
            wired.clock,
            devices_alarm=self._config.limits.devices_per_agent_alarm,
            on_moved=self._moved,
        )
        self.short_way = ShortWay(
            self.endpoint.ua,
            self.registrations,
            authenticator,
            wired.clock,
            wired.random,
            self.endpoint.config.product,
            is_open=lambda: self.is_ready and not self.calling.table.is_draining,
            is_silent=lambda request: self._silence.is_scanner(request) or self._silence.is_foreign(request),
        )
        self.endpoint.short_way = self.short_way.answer
        self.counts = SharedCounts(wired.main, self._counted, wired.clock, wired.node_id)
        self.trunks = Trunks(
            self.endpoint,
            self.directory,
            Lookups(sip.name_servers),
            wired.clock,
            wired.random,
            lambda trunk_id: self.calling.table.on_trunk(trunk_id),
            self.counts.elsewhere,
        )
        self.keepalive = KeepAlive(self.bindings, self.directory, self.endpoint.send, wired.clock, wired.random, float(sip.keepalive_s))
        forwarder = Forwarder(
            self.neighbours.tag,
            device=self._way_to_binding,
            node=self.neighbours.hop,
            is_node=self.neighbours.sent,
            via=self.endpoint.ua.via,
            contact=self.endpoint.ua.contact,
            is_open=self.endpoint.is_open,
        )
        self.endpoint.forward = forwarder.take
        self.elsewhere = Elsewhere(
            wired.main, self.records, self.neighbours, wired.node_id, lambda call_id: pickup_name(call_id, self.neighbours.tag)
        )
        handing = HandingOver(self.endpoint, forwarder, self.neighbours, self.directory, self.registrations.binding_towards, wired.node_id)
        router = Router(
            self.directory,
            lambda agent: self.registrations.devices(agent.id),
            self._decide,
            self.trunks.states,
            wired.clock.now,
            self.registrations.of_temporary_gruu,
            wired.config.features.table(),
        )
        self._vouching, self._signing_certificates = shaken.build(self._config, self.directory, Lookups(sip.name_servers), wired.clock)
        boxes = VoicemailBoxes(wired.main, wired.clock)
        self.calling = Calling(
            self.endpoint,
            router,
            authenticator,
            self.link,
            self.records,
            self.pool,
            wired.clock,
            wired.random,
            wired.node_id,
            library=self._library,
            trunks=self.trunks.states,
            max_calls=self._config.limits.calls,
            renews_media=self._config.media.on_loss == "re-establish",
            agent_ports=self._config.media.agent_ports,
            journal=self.journal,
            device_at=self.registrations.device_at,
            shaken=self._vouching,
            counts=self.counts,
            mailboxes=boxes,
            asking=Asking(wired.main, wired.clock, wired.random),
            greetings=Greetings(wired.main),
            lengths=self._config.voicemail.lengths(),
            most_messages=self._config.voicemail.messages,
            transfer_code=self._config.features.transfer_by_keys or None,
            elsewhere=self.elsewhere,
            handing=handing,
        )
        minting = LockMinting(self.directory, wired.random, self._config.sip.domain)
        self.breaker = Breaker(
            self.directory,
            wired.clock,
            wired.random,
            self.calling.table.coming_and_there,
            self.calling.hang_up,
            alarm_writer(self.records, self.directory, minting, self.bindings.new_id),
        )
        self.fraud = FraudSharing(wired.main, self.directory, self.breaker, wired.clock, wired.node_id)
        router.verdicts.admit = self.breaker.admit
        self.registrations.on_shared = self.breaker.shared
        self.calling.is_locked = self.breaker.is_locked
        self.calling.on_ended(self.breaker.ended)
        self.waiting = MessageWaiting(wired.main, boxes, self.directory, self.bindings, self.endpoint.send, wired.clock)
        ua = self.endpoint.ua
        ua.on_parted(self.calling.journal.parted)
        pickups = PickupNames(self.neighbours.tag, ua.name, lambda alias: ua.name(alias, None))
        is_offered = router.feature_routes.is_on(Feature.PICKUP)
        self.colleagues = Colleagues(wired.main, self.neighbours, wired.node_id, lambda: self.calling.live, pickups if is_offered else None)
        engaged = self.colleagues.engaged
        self.notifier = Notifier(
            self.endpoint,
            self.directory,
            authenticator,
            self._decide,
            (self.waiting, DialogPackage(engaged), PresencePackage(engaged, self.registrations.count)),
            Lines(self._config.features.table().code(Feature.PARK_SLOT)),
            wired.clock,
            binding_at=self.registrations.binding_at,
            bindings_of=self.registrations.bindings_of,
            left=self.registrations.left,
            journal=self.subscription_journal,
            most_per_credential=self._config.limits.subscriptions_per_credential,
            most_per_org=self._config.limits.subscriptions_per_org,
        )
        self.news = AccessNews(wired.main, self.directory, self.bindings, self.endpoint.send, wired.clock)
        self.waiting.watched = lambda: self.notifier.watched(WAITING)
        self.waiting.is_subscribed = lambda binding_id, agent_id: self.notifier.watches(binding_id, agent_id, WAITING)
        self.waiting.on_change = lambda agent_id: self.notifier.changed(agent_id, WAITING)
        self.bindings.on_change = self._bindings_changed
        self.colleagues.on_change = lambda agent_id: self.notifier.changed(agent_id, DIALOG, PRESENCE)
        self.colleagues.watched = lambda: self.notifier.watched(DIALOG, PRESENCE)
        self.calling.journal.watcher = self.colleagues.changed
        self.commands = Commands(wired.main, self.calling, wired.clock, wired.node_id)
        self.call_taking = CallTaking(wired.main, self.calling, self.directory, self.records, wired.clock, wired.node_id)
        self.heartbeat = Heartbeat(
            wired.main,
            self.link,
            self.calling,
            self.trunks,
            wired.clock,
            wired.node_id,
            self._started_at,
            sip=node_uri(self._config, addresses),
            registrar=self._told,
        )
        asking = TextAsking(wired.main, wired.clock, wired.random)
        devices = self.registrations.devices
        self.texts = TextDelivery(
            wired.main, self.directory, self.bindings, devices, self.endpoint.send, asking, wired.clock, wired.random
        )  # fmt: skip
        self.texting = Texting(
            wired.main,
            self.directory,
            authenticator,
            self._decide,
            MessageSending(wired.main, wired.keyring, None, wired.clock, wired.random),
            self.texts,
            self.pool,
            wired.clock,
            self._answer,
            per_minute=self._config.limits.texts_per_minute,
            admit=self.breaker.admit,
        )
        self.orphans = Orphans(wired.main, self.link, self.calling, wired.clock, wired.random, wired.node_id)

    def _told(self) -> dict[str, int]:
        """Counts for metrics."""
        registered = self.registrations.told() | self.notifier.told()
        unread = {"organisations_unread": self.directory.unread}
        return registered | self.guard.told() | self._vouching.told() | self.breaker.told() | unread

    def _trust(self) -> None:
        """Carriers and the deployment's other gateways are many devices at one address."""
        carriers = (address for trunk in self.directory.trunks for address in trunk.addresses if trunk.is_declared)
        # Where a trunk leads is never banned either, though its rate is limited like everybody's.
        spared = [*(address for trunk in self.directory.trunks for address in trunk.addresses), *self.neighbours.hosts]
        self.endpoint.trust([*carriers, *self.neighbours.hosts], spared)
        self.guard.exempt(spared)

    def _moved(self, old: Flow, new: Flow) -> None:
        if self.endpoint.follow(old, new):
            self.notifier.moved(old, new)

    def _bindings_changed(self, agent_id: AgentId) -> None:
        self.notifier.registrations_changed(agent_id)
        self.waiting.registrations_changed(agent_id)
        self.texts.registrations_changed(agent_id)
        self.notifier.changed(agent_id, PRESENCE)

    def _counted(self) -> Mapping[Count, int]:
        limited = {trunk.id for trunk in self.directory.trunks if trunk.channels is not None}
        return self.calling.table.counted(limited, tells_engaged=bool(self.neighbours.nodes))

    def _way_to_binding(self, row_id: UUID) -> Hop | None:
        place = self.bindings.own(row_id)
        return None if place is None else place.hop

    def _decide(self, attempt: Attempt, rules: Rules) -> Verdict:
        verdict = self._judge.decide(attempt, rules, self._wired.clock.now())
        if isinstance(verdict, Allow) and (rules.org_id is None or self.directory.age_s(rules.org_id) > self._config.limits.rules_age_s):
            return denied(verdict, Reason.RULES_STALE)
        return verdict

    # What comes in.

    def _on_sip(self, event: Event) -> None:
        if not self.is_ready:
            # The sockets are bound before the world is known, since our own ports are part of it.
            if isinstance(event, RequestReceived) and not self._may_wait(event.request):
                self.endpoint.respond(event.tx, 503, headers=[("Retry-After", "1")])
            else:
                self._early.append(event)  # a phone that is back, or of a dialog that this process goes on with, once it knows its call
        elif isinstance(event, RequestReceived):
            self._requested(event)
        elif isinstance(event, Responded):
            for take in (self.trunks.take, self.keepalive.responded, self.waiting.responded, self.news.responded, self.texts.responded):
                if take(event):
                    return
            self.calling.on_sip(event)
        elif not isinstance(event, OF_SUBSCRIPTIONS) or not self.notifier.take(event):
            self.calling.on_sip(event)

    def _may_wait(self, request: Request) -> bool:
        """Whether it is kept until the world is known: a phone that registers, of which some ask but once; calls better go elsewhere."""
        return request.method == "REGISTER" and len(self._early) < MOST_EARLY

    def _requested(self, event: RequestReceived) -> None:
        method = event.request.method
        if self.calling.table.is_draining and _is_for_others(event.request):
            self.endpoint.respond(event.tx, 503, headers=[("Retry-After", "5")])
        elif method == "REGISTER":
            tx = event.tx
            self.registrations.handle(event.request, event.flow, lambda status, headers: self._answer(tx, status, headers))
        elif method == "SUBSCRIBE":
            self.notifier.request(event.tx, event.request, event.flow)
        elif method == "MESSAGE":
            self.texting.request(event.tx, event.request, event.flow)
        else:
            self.calling.on_sip(event)

    def _on_flow_closed(self, flow: Flow) -> None:
        if self.is_ready:
            self.registrations.flow_closed(flow)
            self.notifier.flow_closed(flow)

    def _answer(self, tx: Any, status: int, headers: Any) -> None:
        self.endpoint.respond(tx, status, headers=headers)

    def _on_dtls(self, arrived: DtlsDatagram) -> None:
        if self.is_ready:
            self.calling.dtls_datagram(arrived)

    def media_ready(self, greeting: Greeting) -> None:
        """Another run of the media process, or ours after a restart: what it holds that we don't know has to end."""
        _log.info("media.ready", program=greeting.program, bridges=greeting.bridges)
        self.orphans.look()

    def media_lost(self, *, is_gone: bool) -> None:
        """Noticed at once where its socket closed."""
        _log.error("media.lost", calls=sum(1 for _ in self.calling.live), is_gone=is_gone)
        self.calling.media_lost(is_gone=is_gone)

    def media_event(self, event: MediaEvent) -> None:
        """To the call that it concerns, else to the orphans."""
        if not self.is_ready:
            self._early.append(event)
        elif not self.calling.media_event(event):
            self.orphans.media_event(event)

    # What goes on beside calls.

    async def _keep_alive(self) -> None:
        if self._config.sip.keepalive_s:
            await self.keepalive.run()
        await asyncio.Event().wait()

    async def _next_epoch(self) -> int:
        async with self._wired.main.transaction() as connection:
            return await nodes.next_epoch(connection)

    def _ignores(self, request: Request, flow: Flow) -> bool:
        if self._silence.is_scanner(request):
            self.guard.scanned(flow)
            return True
        return self._silence.is_foreign(request)

    def _directory_changed(self) -> None:
        self._trust()
        for org_id in self.directory.organisation_ids():
            if (org := self.directory.organisation(org_id)) is not None:
                self.pool.follow(org_id, org.custody_version)
        self._new_orgs.set()
        self.registrations.obey_directory()
        self.trunks.changed()
        self.notifier.obey_directory()
        self.news.look()
        self.calling.obey_directory()

    async def _prepare_keys(self) -> None:
        """Keep keys ready for every organisation, so that no call waits for one."""
        while True:
            self._new_orgs.clear()
            await for_each(self.directory.organisation_ids(), self._prepare, "keys")
            await self._new_orgs.wait()

    async def _prepare(self, org_id: OrgId) -> int:
        org = self.directory.organisation(org_id)
        await self.calling.keys.prepare(org_id, is_recorded=org is not None and org.record != "none")
        return 1


def node_uri(config: Config, addresses: Mapping[Transport, Address]) -> str | None:
    """Where other gateways reach this one: as configured, else where it listens on one address over TCP or UDP; None: nowhere."""
    given = config.sip.node
    if given is not None:
        return f"sip:{bracketed(given.host)}:{given.port};transport={given.scheme}"
    for transport in (Transport.TCP, Transport.UDP):
        address = addresses.get(transport)
        if address is not None and address.host not in ("0.0.0.0", "::"):
            return f"sip:{bracketed(address.host)}:{address.port};transport={transport.value}"
    return None


def open_journal(wired: Wired, name: str = CALLS) -> Journal:
    """A journal in the data folder, under a key of its own."""
    folder = wired.folders.journal
    folder.mkdir(mode=0o700, exist_ok=True)
    purpose = b"hushwire/journal" if name == CALLS else b"hushwire/journal/" + name.encode()
    return Journal(folder, hmac.digest(wired.keys.role, purpose, "sha256"), name)


def _is_for_others(request: Request) -> bool:
    """Whether another gateway should be asked this, while we drain: new registrations, not their ends; and who looks if we serve."""
    return request.method == "OPTIONS" or (request.method in ("REGISTER", "SUBSCRIBE") and request.expires != 0)


def endpoint_config(wired: Wired) -> EndpointConfig:
    """The endpoint's configuration from ours. Raises ConfigError where certificates can't be loaded."""
    config: Config = wired.config
    listens = tuple(Listen(Transport(item.scheme), item.host, item.port) for item in config.sip.listen)
    chain, key = served(config, wired.folders)
    has_tls = any(item.transport.is_protected for item in listens)
    limits = config.limits
    return EndpointConfig(
        listen=listens,
        server_tls=server_context(chain, key) if has_tls else None,
        client_tls=client_context(config.tls.trunk_authorities, config.tls.trunk_certificate, config.tls.trunk_key),
        pinned_tls=pinned_context(config.tls.trunk_certificate, config.tls.trunk_key),
        max_message=limits.message_bytes,
        max_connections=limits.connections,
        max_connections_per_source=limits.connections_per_source,
        max_unproven=max(64, limits.connections // 4),
        max_silent_per_source=limits.silent_per_source,
        idle_s=float(limits.idle_s),
        origins=config.web_origins(),
        admin_ports=frozenset({config.api.listen.port} - {0}),
        rate_per_s=float(limits.requests_per_second),
        burst=2.0 * limits.requests_per_second,
        user_agent=UserAgentConfig(
            allow=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "PRACK", "UPDATE", "SUBSCRIBE", "REFER", "MESSAGE"),
            events=EVENTS,
            max_subscriptions=limits.subscriptions,
            supported=(*UserAgentConfig().supported, "path", "outbound", "gruu", "norefersub", "replaces", FROM_CHANGE),
            tells_unknown_replaces=True,
            answers_options=False,  # until calls are taken: a proxy in front that asks sends its calls to others meanwhile
        ),
    )


async def run(wired: Wired) -> None:
    """The gateway role, until `wired.stop`."""
    garbage.settle()
    logs.settle()
    await Gateway(wired).run()
