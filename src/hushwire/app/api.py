"""The api role: the HTTP application over TLS (or on loopback in clear), until the process is asked to end."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
import uvicorn

from hushwire.api.application import application
from hushwire.api.means import Means
from hushwire.api.metrics import Metrics
from hushwire.app import hosts
from hushwire.app.cases import made_audits, made_breaches
from hushwire.app.certificates import served
from hushwire.app.config import Config, Listen
from hushwire.app.outgoing import outgoing
from hushwire.app.posture import posture
from hushwire.app.wiring import Wired
from hushwire.core.errors import ConfigError
from hushwire.policy.model import OwnHosts
from hushwire.services.access_requests import AccessRequests
from hushwire.services.account_deletions import AccountDeletions
from hushwire.services.agent_forwarding import AgentForwarding
from hushwire.services.agreement import Agreement
from hushwire.services.annexes import Annexes
from hushwire.services.audit_exports import AuditExports
from hushwire.services.call_actions import CallActions
from hushwire.services.call_requests import CallRequests
from hushwire.services.carrier_callbacks import CarrierCallbacks
from hushwire.services.clocks import Clocks
from hushwire.services.consents import Consents
from hushwire.services.custody import Custodian
from hushwire.services.devices import Devices
from hushwire.services.do_not_call import DoNotCall
from hushwire.services.dpa import Dpa
from hushwire.services.erasure import Erasures
from hushwire.services.event_feed import EventFeed
from hushwire.services.exception_settings import ExceptionSettings
from hushwire.services.fraud_alarms import FraudAlarms
from hushwire.services.greeting_uploads import GreetingUploads
from hushwire.services.greetings import Greetings
from hushwire.services.group_settings import GroupSettings
from hushwire.services.holds import Holds
from hushwire.services.limits import Limits
from hushwire.services.masking import Masking
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.messages import Messages
from hushwire.services.notices import Notices
from hushwire.services.organisation import Organisations
from hushwire.services.provisioning_links import ProvisioningLinks
from hushwire.services.queries import Queries
from hushwire.services.readings import Readings
from hushwire.services.recordings import Recordings
from hushwire.services.recordings_sealed import SealedRecordings
from hushwire.services.recordings_shipping import Spool
from hushwire.services.retention import RetentionRules
from hushwire.services.rights import Rights
from hushwire.services.risk_packs import RiskPacks
from hushwire.services.simulation import Simulation
from hushwire.services.standing_work import StandingWork
from hushwire.services.team_settings import TeamSettings
from hushwire.services.voice_security import VoiceSecurity
from hushwire.services.voicemail_queries import VoicemailQueries
from hushwire.services.webhooks import Webhooks
from hushwire.sip.uri import parse_sip_uri
from hushwire.store import text_deliveries
from hushwire.vault.blobs import Blobs

_CONNECTIONS: Final = 2000
_KEEP_ALIVE_S: Final = 15
_END_WITHIN_S: Final = 1
_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the role's `stop` is what ends it. `up` is set once it serves."""

    def __init__(self, settings: uvicorn.Config) -> None:
        super().__init__(settings)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(wired: Wired) -> None:
    """Serve until `wired.stop` is set; requests under way get a second to end."""
    listen = wired.config.api.listen
    packs = RiskPacks(wired.config.risk_pack_folder, wired.config.risk_packs.keys)
    await asyncio.to_thread(packs.look)
    await packs.share(wired.main, wired.clock)
    means = await made_means(wired, packs)
    listener = bound(listen)
    address = f"{listen.scheme}://{_host(listen.host)}:{listener.getsockname()[1]}"
    server = _Server(_settings(wired, means, listen))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api-server")
    stopping = asyncio.create_task(wired.stop.wait(), name="api-stop")
    standing = StandingWork("api", wired.clock)
    beside = [
        asyncio.create_task(standing.kept_up("risk-packs", lambda: packs.run(wired.main, wired.clock)), name="risk-packs"),
        asyncio.create_task(standing.tell(wired.main, wired.node_id), name="work-states"),
    ]
    try:
        await asyncio.wait({serving, asyncio.create_task(server.up.wait(), name="api-up")}, return_when=asyncio.FIRST_COMPLETED)
        if server.up.is_set():
            _log.info("api.ready", address=address)
            wired.ready({"api": [address]})
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        server.should_exit = True
        await serving
        listener.close()
    _log.info("api.ended")


async def made_means(wired: Wired, packs: RiskPacks) -> Means:
    """Everything that the routers use, wired."""
    blobs = Blobs.open(wired.config.store_urls())
    spool = Spool(wired.folders.spool)
    erasures = Erasures(wired.main, wired.keyring, wired.clock, wired.random)
    clocks = Clocks(wired.clock, wired.random)
    notices = Notices(wired.main, wired.keyring, clocks, wired.clock, wired.random)
    devices = Devices(wired.main, wired.keyring, wired.clock, wired.random, wired.config.sip.domain)
    voice_security = VoiceSecurity(
        wired.main, wired.keyring, wired.clock, lambda slug: own_hosts(wired.config, slug, wired.folders.status), notices, packs.packs
    )
    actions = CallActions(wired.main, wired.clock, wired.random)
    await erasures.listen()
    await voice_security.listen()
    call_requests = CallRequests(wired.main, wired.keyring, wired.clock, wired.random)
    await actions.listen()
    await call_requests.listen()
    rights = Rights.of(wired.main, wired.keyring, erasures, blobs, wired.clock, wired.random)
    dpa = Dpa(wired.main, wired.clock, posture(wired.config))
    queries = Queries(wired.main, wired.keyring, wired.clock, wired.random)
    inbox = MessageInbox(wired.main, wired.keyring, voice_security, wired.clock, wired.random, text_deliveries.add_all)
    return Means(
        main=wired.main,
        keyring_db=wired.keyring_db,
        keyring=wired.keyring,
        clock=wired.clock,
        queries=queries,
        greetings=Greetings(wired.main),
        greeting_uploads=GreetingUploads(
            wired.main,
            wired.keyring,
            spool,
            erasures,
            wired.clock,
            wired.random,
            wired.node_id,
            wired.config.voicemail.greeting_bounds,
        ),
        webhooks=Webhooks(wired.main, wired.keyring, wired.clock, wired.random, outgoing(wired.config).fault, wired.config.webhooks.inside),
        events=EventFeed(wired.main, wired.clock),
        callbacks=CarrierCallbacks(wired.main, wired.keyring, inbox, wired.clock),
        voicemail=VoicemailQueries(wired.main, queries, wired.clock),
        recordings=Recordings(wired.main, wired.keyring, blobs, spool, wired.clock),
        spool=spool,
        erasures=erasures,
        retention=RetentionRules(wired.main, wired.clock, wired.random),
        holds=Holds(wired.main, wired.keyring, wired.clock, wired.random),
        voice_security=voice_security,
        simulation=Simulation(wired.main, wired.keyring, voice_security, wired.clock),
        access_requests=AccessRequests(wired.main, wired.clock, wired.random),
        actions=actions,
        call_requests=call_requests,
        rights=rights,
        forwarding=AgentForwarding(wired.main, wired.keyring, voice_security, wired.clock, wired.random),
        groups=GroupSettings(wired.main, wired.keyring, wired.clock, wired.random),
        exceptions=ExceptionSettings(wired.main, wired.keyring, wired.clock, wired.random, voice_security.changes),
        teams=TeamSettings(wired.main, wired.clock, wired.random, voice_security.changes),
        devices=devices,
        fraud_alarms=FraudAlarms(wired.main, devices, wired.clock),
        limits=Limits(wired.main, wired.clock),
        links=ProvisioningLinks(
            wired.main, wired.keyring, wired.clock, wired.random, wired.config.sip.domain, parse_sip_uri(wired.config.phone_proxy())
        ),
        messages=Messages.of(wired.main, wired.keyring, voice_security, wired.clock, wired.random),
        masking=Masking(wired.main, wired.keyring, wired.clock, wired.random),
        sip_domain=wired.config.sip.domain,
        readings=Readings(wired.main, wired.clock, wired.random),
        dpa=dpa,
        audits=made_audits(wired.main, wired.keyring, dpa, wired.clock, wired.random),
        annexes=Annexes(wired.main, dpa, wired.clock),
        breaches=made_breaches(wired.main, wired.keyring, wired.clock, wired.random),
        audit_exports=AuditExports(wired.main, wired.keyring, wired.clock),
        custodian=Custodian(wired.main, wired.keyring, wired.clock, wired.random),
        sealed=SealedRecordings(wired.main, wired.keyring, blobs, spool, wired.clock, wired.random),
        metrics=Metrics(),
        clocks=clocks,
        notices=notices,
        agreement=Agreement.of(wired.main, wired.keyring, erasures, clocks, notices, wired.clock, wired.random),
        organisations=Organisations(wired.main, wired.keyring, wired.clock, wired.random),
        consents=Consents(wired.main, wired.keyring, wired.clock, wired.random),
        do_not_call=DoNotCall(wired.main, wired.keyring, wired.clock),
        account_deletions=AccountDeletions(wired.main, wired.keyring, erasures, rights.agents, notices, wired.clock, wired.random),
    )


def bound(listen: Listen) -> socket.socket:
    """A listening socket. Port 0 becomes a free one. ConfigError where the address can't be had."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    # The protocol is named: asyncio turns Nagle's algorithm off only where it is, and with it each answer waits 40 ms for the client's
    # delayed acknowledgement of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((listen.host, listen.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise ConfigError(f"[api] listen: {listen} can't be had ({error.strerror}): choose another address or port") from None
    listener.setblocking(False)
    return listener


def own_hosts(config: Config, slug: str, status: Path) -> OwnHosts:
    """Which hosts in a URI mean this gateway for an organisation; `status` knows the ports that the system chose."""
    own = hosts.own_hosts(config, slug)
    is_chosen = any(not listen.port for listen in config.sip.listen)
    return replace(own, ports=own.ports | _ports_in_use(status)) if is_chosen else own


def _ports_in_use(status: Path) -> frozenset[int]:
    """Where the gateway of this machine listens, where the configuration left the choice to the system."""
    try:
        roles = json.loads(status.read_bytes())["roles"]
        listed = roles["gateway"]["addresses"]["sip"]
        return frozenset(int(address.rpartition(":")[2]) for address in listed)
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _settings(wired: Wired, means: Means, listen: Listen) -> uvicorn.Config:
    is_tls = listen.scheme == "https"
    chain, key = served(wired.config, wired.folders) if is_tls else (None, None)
    settings = uvicorn.Config(
        application(means, is_tls=is_tls),
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=chain,
        ssl_keyfile=key,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_END_WITHIN_S,
    )
    settings.load()
    if settings.ssl is not None:
        settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return settings


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
