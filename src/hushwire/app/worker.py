"""The worker role: what has to be done whether or not anybody asks.

There is no queue of jobs beside the data: rows that stand in a state are the work (docs/adr/0002-rows-are-the-queue.md). Each job looks at
the rows, does what is due, and sleeps until PostgreSQL says that something changed, or until its period is over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from hushwire.app.cases import made_breaches
from hushwire.app.mailing import mail_server
from hushwire.app.outgoing import outgoing
from hushwire.app.wiring import Wired
from hushwire.core.errors import HushwireError
from hushwire.projections.outbox import project
from hushwire.recording.failures import RecordingError
from hushwire.services import masking, text_delivery
from hushwire.services.access_requests import AccessWatch
from hushwire.services.account_deletions import AccountDeletions
from hushwire.services.agents import Agents
from hushwire.services.agreement import Agreement
from hushwire.services.audit_heads import AuditHeads
from hushwire.services.clock_watch import ClockWatch
from hushwire.services.clocks import Clocks
from hushwire.services.custody import Custodian
from hushwire.services.emergencies import EmergencyAlarms
from hushwire.services.erasure import Erasures
from hushwire.services.erasure_expiry import expire
from hushwire.services.erasure_upkeep import Upkeep
from hushwire.services.export_building import Building
from hushwire.services.fraud_upkeep import FraudUpkeep
from hushwire.services.greetings import GreetingsToErase
from hushwire.services.message_bodies import MessageBodies
from hushwire.services.message_queries import MessageQueries
from hushwire.services.notice_sending import NoticeSending
from hushwire.services.notices import Notices
from hushwire.services.object_copies import ObjectCopies
from hushwire.services.old_recordings import index_parties
from hushwire.services.organisation import Organisations
from hushwire.services.protections import Keeping
from hushwire.services.queries import Queries
from hushwire.services.recordings import Recordings
from hushwire.services.recordings_shipping import Shipping, Spool
from hushwire.services.replay import keep_up
from hushwire.services.retention import RetentionRules, RetentionRuns
from hushwire.services.rights import Rights
from hushwire.services.spool_watch import SpoolWatch
from hushwire.services.standing_work import StandingWork
from hushwire.services.text_reading import TextAnswering
from hushwire.services.unused_keys import UnusedKeys
from hushwire.services.voicemail_boxes import MessagesToErase
from hushwire.services.voicemail_reading import Answering
from hushwire.services.webhook_contents import CallContents, MessageContents
from hushwire.services.webhook_delivery import WebhookDelivery
from hushwire.vault.blobs import Blobs
from hushwire.vault.unseal import INTEGRITY
from hushwire.vault.zones import tidy_secrets

RETRY_MOST_S: Final = 60.0
HEARTBEAT_S: Final = 60.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Job:
    """Something that is done again and again. `topic`: the notification that wakes it; `period_s`: the longest it sleeps.

    `apart_s`: what is woken again sooner after its last beginning waits for so long: what is told meanwhile is done in one go.
    """

    name: str
    work: Callable[[], Awaitable[int]]
    period_s: float
    topic: str | None = None
    apart_s: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    done: int = 0

    async def run(self, standing: StandingWork) -> None:
        """Never ends. What fails is logged, told of and tried again later, by itself: the other jobs go on."""
        delay_s = 1.0
        while True:
            self.wake.clear()
            begun = asyncio.get_running_loop().time()
            try:
                self.done += await self.work()
            except Exception as error:
                # What is expected now and then (a database away, a full disk) says enough by its name; of all else the place is told.
                is_expected = isinstance(error, HushwireError | asyncpg.PostgresError | OSError)
                _log.error("worker.job_failed", job=self.name, **({"error": type(error).__name__} if is_expected else {"exc_info": error}))
                standing.failed(self.name, error)
                pause_s, delay_s = delay_s, min(2 * delay_s, RETRY_MOST_S)
            else:
                standing.works(self.name)
                pause_s, delay_s = self.period_s, 1.0
            try:
                async with asyncio.timeout(pause_s):
                    await self.wake.wait()
            except TimeoutError:
                continue
            if (early_s := begun + self.apart_s - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(early_s)


async def run(means: Wired) -> None:
    """Works until `means.stop` is set."""
    jobs = await made_jobs(means)

    def woken(topic: str) -> None:
        for job in jobs:
            if job.topic is not None and topic in ("", job.topic):
                job.wake.set()

    await means.main.listen("hushwire_work", woken)
    standing = StandingWork("worker", means.clock)
    tasks = [asyncio.create_task(job.run(standing), name=f"worker-{job.name}") for job in jobs]
    tasks.append(asyncio.create_task(_heartbeat(jobs), name="worker-heartbeat"))
    tasks.append(asyncio.create_task(standing.tell(means.main, means.node_id), name="worker-work-states"))
    stopped = asyncio.create_task(means.stop.wait(), name="worker-stop")
    means.ready()
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()  # none is meant to end: die of it, and be started again
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)


async def made_jobs(means: Wired) -> list[Job]:
    """The jobs of a worker, wired."""
    blobs = Blobs.open(means.config.store_urls())
    spool = Spool(means.folders.spool)
    erasures = Erasures(means.main, means.keyring, means.clock, means.random, ends_organisations=True)
    await erasures.listen()
    shipping = Shipping(means.main, means.keyring, blobs, spool, means.node_id, means.clock, means.random)
    copies = Blobs.open(urls) if (urls := means.config.copy_urls()) else None
    upkeep = Upkeep(means.main, means.keyring, blobs, spool, means.node_id, means.clock, erasures, copies)
    playing = Recordings(means.main, means.keyring, blobs, spool, means.clock)
    rules = RetentionRules(means.main, means.clock, means.random)
    retention = RetentionRuns(means.main, rules, erasures, means.clock, means.random)
    rights = Rights.of(means.main, means.keyring, erasures, blobs, means.clock, means.random)
    building = Building(
        means.main,
        means.keyring,
        blobs,
        spool,
        means.node_id,
        means.clock,
        means.random,
        erasures=erasures,
        requests=rights.requests,
        contacts=rights.contacts,
        recordings=Recordings(means.main, means.keyring, blobs, spool, means.clock),
        queries=Queries(means.main, means.keyring, means.clock, means.random),
        messages=MessageQueries(means.main, means.keyring, means.clock),
    )
    clocks = Clocks(means.clock, means.random)
    watch = ClockWatch(means.main, clocks)
    notices = Notices(means.main, means.keyring, clocks, means.clock, means.random)
    sending = NoticeSending(notices, mail_server(means.config))
    organisations = Organisations(means.main, means.keyring, means.clock, means.random)
    agreement = Agreement.of(means.main, means.keyring, erasures, clocks, notices, means.clock, means.random)
    agents = Agents(means.main, means.keyring, means.clock)
    deletions = AccountDeletions(means.main, means.keyring, erasures, agents, notices, means.clock, means.random)
    messages, greetings = MessagesToErase(means.main, erasures), GreetingsToErase(means.main, erasures, means.clock)
    fraud = FraudUpkeep(means.main, notices, means.clock)
    bodies = MessageBodies(means.main, means.keyring, means.clock, means.random)
    queries = Queries(means.main, means.keyring, means.clock, means.random)
    contents = (MessageContents(bodies), CallContents(queries))
    hooks = WebhookDelivery(
        means.main, means.keyring, outgoing(means.config), means.clock, means.random, contents, means.config.webhooks.inside
    )
    jobs = [
        Job("outbox", lambda: project(means.main), 5.0, "outbox", apart_s=0.1),
        Job("shipping", shipping.ship_all, 5.0, "recordings"),
        Job("erasures", upkeep.carry_on, 10.0, "erasures"),
        Job("retention", retention.run_all, 3600.0, "retention"),
        Job("clocks", watch.look, 15.0, "clocks"),
        Job("documents", building.build_all, 15.0, "documents"),
        Job("retired-keys", rights.contacts.destroy_retired, 60.0, "retired-keys"),
        Job("fraud-alarms", fraud.tell_all, 60.0, "fraud"),
        Job("fraud", fraud.lapse_all, 300.0),
        Job("emergencies", EmergencyAlarms(notices).tell, 2.0, "outbox", apart_s=0.1),
        Job("notices", sending.send, 15.0, "notices"),
        Job("access-requests", AccessWatch(means.main, notices, means.clock).look, 60.0, "access-requests"),
        Job("account-deletions", deletions.carry_on, 60.0, "account-deletions"),
        Job("profiles", organisations.forget_all, 600.0, "profiles"),
        Job("agreement", agreement.subprocessors.carry_on, 60.0, "agreement"),
        Job("terminations", agreement.terminations.carry_on, 60.0, "agreement"),
        Job("crashed", shipping.mark_crashed, 15.0),
        Job("playback", lambda: prepare(shipping, playing), 5.0, "recordings"),
        Job("spool-watch", SpoolWatch(spool, means.clock).look, 15.0),
        Job("uploads", shipping.abort_stale_uploads, 3600.0),
        Job("voicemail", lambda: erase_voicemail(messages, greetings), 300.0, "voicemail"),
        Job("voicemail-readings", Answering(means.main, playing, queries, means.clock).answer_all, 30.0, "voicemail-readings"),
        Job("webhooks", hooks.deliver, 2.0, "webhooks", apart_s=0.1),
        Job("webhooks-tidied", hooks.tidy, 3600.0),
        Job("text-readings", TextAnswering(means.main, bodies, means.clock).answer_all, 30.0, "text-readings"),
        Job("texts-overdue", lambda: text_delivery.expire(means.main, means.clock, means.random), 60.0),
        Job("renewal", upkeep.renew_buckets, 600.0),
        Job("unused-keys", UnusedKeys(means.main, means.keyring, means.clock).sweep, 3600.0),
        Job("zones", lambda: tidy_secrets(means.keyring), 300.0),
        Job("spool", shipping.tidy_spool, 3600.0),
        Job("breaches", made_breaches(means.main, means.keyring, means.clock, means.random).carry_on, 60.0, "breaches"),
        Job("audit-heads", AuditHeads(means.main, means.keyring, means.clock).sign_due, 60.0),
        Job("replay", lambda: keep_up(means.main, means.keyring_db, means.clock), 3600.0),
        Job("protections", Keeping(means.main, means.keyring_db).keep_all, 15.0, "protections"),
        Job("custody", Custodian(means.main, means.keyring, means.clock, means.random).upkeep, 3600.0),
        Job("masking", lambda: masking.end_expired(means.main, means.clock), 60.0),
        Job("old-recordings", lambda: index_parties(means.main), 3600.0),
        Job("expiry", lambda: expire(means.main, means.clock), 3600.0),
    ]
    if copies is not None:
        jobs.append(Job("object-copies", ObjectCopies(means.main, means.keyring_db, blobs, copies).carry_on, 300.0))
    return jobs


async def erase_voicemail(messages: MessagesToErase, greetings: GreetingsToErase) -> int:
    """Erases what mailboxes are rid of; returns how many things."""
    return await messages.erase_all() + await greetings.erase_all()


async def prepare(shipping: Shipping, playing: Recordings) -> int:
    """Makes what playing long recordings from their middle takes; returns for how many."""
    made = 0
    for org_id, recording_id in shipping.to_prepare():
        try:
            made += await playing.prepare(org_id, recording_id, INTEGRITY)
        except RecordingError as error:
            _log.error("recording.damaged", org_id=str(org_id), recording_id=str(recording_id), failure=error.failure.value)
    return made


async def _heartbeat(jobs: list[Job]) -> None:
    while True:
        _log.info("worker.alive", **{job.name: job.done for job in jobs})
        await asyncio.sleep(HEARTBEAT_S)
