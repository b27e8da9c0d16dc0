"""The sms role: links to the carriers of short messages, and what comes and goes by them.

It opens texts to hand them to a carrier, so it holds the opener keys that the worker holds, and is a process of its own: what parses bytes
of carriers neither carries calls nor erases recordings, and a fault in it takes neither down (docs/adr/0049).
"""

import asyncio

import structlog

from hushwire.app.hosts import own_hosts
from hushwire.app.outgoing import outgoing
from hushwire.app.wiring import Wired
from hushwire.app.worker import Job
from hushwire.core.ids import uuid7
from hushwire.services.http_carrier import HttpCarriers
from hushwire.services.message_bodies import MessageBodies
from hushwire.services.message_carriers import Means, MessageCarriers
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.message_receipts import TOPIC
from hushwire.services.message_runs import Run
from hushwire.services.message_troubles import MessageTroubles
from hushwire.services.risk_packs import RiskPacks
from hushwire.services.standing_work import StandingWork
from hushwire.services.voice_security import VoiceSecurity
from hushwire.store import text_deliveries
from hushwire.transport.lookups import Lookups
from hushwire.transport.message_link import BackOff
from hushwire.transport.tls import client_context, pinned_context

_log = structlog.get_logger(__name__)


async def run(means: Wired) -> None:
    """Works until `means.stop` is set; then leaves the carriers, and writes what they still answered."""
    clock, config = means.clock, means.config
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        if not failed.done():
            failed.set_exception(error)

    packs = RiskPacks(config.risk_pack_folder, config.risk_packs.keys)
    await asyncio.to_thread(packs.look)
    await packs.share(means.main, clock)
    voice_security = VoiceSecurity(means.main, means.keyring, clock, lambda slug: own_hosts(config, slug), packs=packs.packs)
    await voice_security.listen()
    bodies = MessageBodies(means.main, means.keyring, clock, means.random, voice_security)
    inbox = MessageInbox(means.main, means.keyring, voice_security, clock, means.random, text_deliveries.add_all)
    verified = client_context(config.tls.trunk_authorities, config.tls.trunk_certificate, config.tls.trunk_key)
    verified.check_hostname = True  # unlike a SIP carrier's, the certificate of a message centre names its host (RFC 9525)
    links = Means(
        Lookups(config.sip.name_servers),
        clock,
        means.random,
        verified,
        pinned_context(config.tls.trunk_certificate, config.tls.trunk_key),
        BackOff(),
    )
    held = Run(uuid7(int(clock.now().timestamp() * 1000), means.random.token_bytes(10)), means.node_id, means.main, clock)
    by_https = HttpCarriers(held, means.main, means.keyring, bodies, outgoing(config), clock, means.random)
    carriers = MessageCarriers(links, held, means.main, means.keyring, bodies, inbox, fail, by_https.there)
    await held.begin()
    await carriers.upkeep()  # what an earlier process left is in doubt before its receipts come
    jobs = [
        Job("message-centres", carriers.follow, 30.0, "message-centres"),
        Job("message-upkeep", carriers.upkeep, 5.0),
        Job("message-links", carriers.tell, 5.0),
        Job("message-carriers-away", carriers.look_away, 15.0),
        Job("message-assembly", inbox.give_up_waiting, 30.0),
        Job("http-carriers", by_https.work, 5.0, "message-parts"),
        Job("http-carriers-upkeep", by_https.upkeep, 15.0),
        Job("http-carriers-away", by_https.look_away, 15.0),
        Job("messages-held-up", MessageTroubles(means.main).look, 30.0),
        Job("http-carriers-receipts", by_https.receipts, 15.0, TOPIC),
    ]

    def woken(topic: str) -> None:
        if topic in ("", "message-parts"):
            carriers.woken()
        for job in jobs:
            if job.topic is not None and topic in ("", job.topic):
                job.wake.set()

    await means.main.listen("hushwire_work", woken)
    standing = StandingWork("sms", clock)
    tasks = [asyncio.create_task(job.run(standing), name=f"sms-{job.name}") for job in jobs]
    tasks.append(asyncio.create_task(standing.tell(means.main, means.node_id), name="sms-work-states"))
    tasks.append(asyncio.create_task(held.keep_beating(), name="sms-beat"))
    tasks.append(asyncio.create_task(standing.kept_up("risk-packs", lambda: packs.run(means.main, clock)), name="sms-risk-packs"))
    stopped = asyncio.create_task(_until(means.stop), name="sms-stop")
    means.ready()
    try:
        watched: list[asyncio.Future[None]] = [failed, *tasks]
        await asyncio.wait([*watched, stopped], return_when=asyncio.FIRST_COMPLETED)
        for ended in watched:
            if ended.done():
                ended.result()  # only by an error that nobody expected, or because others took us for dead: begin anew
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)
        await carriers.stop()


async def _until(event: asyncio.Event) -> None:
    await event.wait()
