"""The whole application served over a real socket, with real databases behind it, and clients that ask as one key or another."""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn

from hushwire.api.application import application
from hushwire.api.means import Means
from hushwire.api.metrics import Metrics
from hushwire.app.api import bound
from hushwire.app.cases import made_audits, made_breaches
from hushwire.app.config import Listen
from hushwire.core.ids import CallId, OrgId, RecordingId
from hushwire.policy.model import OwnHosts
from hushwire.privacy.undertakings import BUILT_IN
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
from hushwire.services.dpa import Dpa, Posture
from hushwire.services.event_feed import EventFeed
from hushwire.services.exception_settings import ExceptionSettings
from hushwire.services.fraud_alarms import FraudAlarms
from hushwire.services.greeting_uploads import Bounds, GreetingUploads
from hushwire.services.greetings import Greetings
from hushwire.services.group_settings import GroupSettings
from hushwire.services.holds import Holds
from hushwire.services.limits import Limits
from hushwire.services.masking import Masking
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.messages import Messages
from hushwire.services.notices import Notices
from hushwire.services.organisation import Organisations
from hushwire.services.provisioning import hash_api_secret, new_api_secret
from hushwire.services.provisioning_links import ProvisioningLinks
from hushwire.services.queries import Queries
from hushwire.services.readings import Readings
from hushwire.services.retention import RetentionRules
from hushwire.services.rights import Rights
from hushwire.services.simulation import Simulation
from hushwire.services.team_settings import TeamSettings
from hushwire.services.voice_security import VoiceSecurity
from hushwire.services.voicemail_queries import VoicemailQueries
from hushwire.services.webhooks import Webhooks
from hushwire.sip.uri import parse_sip_uri
from hushwire.store import text_deliveries
from hushwire.transport.lookups import Lookups
from hushwire.transport.outgoing import Outgoing
from hushwire.vault.seal import Columns
from tests.databases import Databases
from tests.recorded import Chance, House, made_house
from tests.store.rows import add_org, insert

ROLES = ("owner", "admin", "supervisor", "agent", "auditor")


@dataclass(slots=True)
class Office:
    """A served deployment with two organisations: `house.org` ("acme", in DE) and `other` ("globex")."""

    house: House
    url: str
    means: Means
    other: OrgId
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    def client(self, role: str = "owner", slug: str = "acme", **more: Any) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.keys[slug, role]}"} | more.pop("headers", {})
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=90, **more)

    def stranger(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=90)

    async def add_agent(self, username: str, *, extension: str | None = None, org: OrgId | None = None, role: str = "agent") -> UUID:
        org = org or self.house.org
        keys = await (await self.house.keyring("owner")).org_context(org)
        agent = uuid4()

        def sealed(value: str, column: str) -> bytes:
            return keys.operational.seal(value.encode(), table="agents", column=column, row=agent, org=org)

        values: dict[str, object] = {
            "id": agent, "org_id": org, "username_sealed": sealed(username, "username_sealed"), "role": role,
            "username_index": keys.index("agents.username", username), "created_at": datetime.now(UTC), "updated_at": datetime.now(UTC),
        }  # fmt: skip
        if extension:
            values |= {
                "extension_sealed": sealed(extension, "extension_sealed"),
                "extension_index": keys.index("agents.extension", extension),
            }
        async with (await self.house.main("owner")).organisation(org) as connection:
            await insert(connection, "agents", **values)
        return agent

    async def add_call(
        self, number: str | None = None, *, org: OrgId | None = None, started_at: datetime | None = None, **more: object
    ) -> CallId:
        """A call as the gateway writes it, the number sealed under the call's own key."""
        org = org or self.house.org
        call = CallId(uuid4())
        values: dict[str, object] = {
            "id": call, "org_id": org, "node_id": self.house.node, "direction": "outbound", "state": "ended",
            "started_at": started_at or datetime.now(UTC),
        }  # fmt: skip
        if number is not None:
            keyring = await self.house.keyring("gateway")
            key = await keyring.new_data_key(org, "call", call)
            columns, keys = Columns(key.key), await keyring.org_context(org)
            values |= {
                "sealed_with": call, "remote_index": keys.index("calls.remote", number),
                "remote_sealed": columns.seal(number.encode(), table="calls", column="remote_sealed", row=call, org=org),
            }  # fmt: skip
        async with (await self.house.main("gateway")).organisation(org) as connection:
            await insert(connection, "calls", **(values | more))
        return call

    async def rows(self, query: str, *arguments: object, org: OrgId | None = None) -> list[dict[str, Any]]:
        async with (await self.house.main("owner")).organisation(org or self.house.org) as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]


async def add_key(house: House, org: OrgId, role: str, *, purpose: str = "customer-service", is_signed: bool = True) -> str:
    """A new API key's secret."""
    secret, key = new_api_secret(Chance()), uuid4()
    async with (await house.main("owner")).organisation(org) as connection:
        await insert(
            connection, "api_keys", id=key, org_id=org, name=f"{role}-{secrets.token_hex(4)}", role=role, purpose=purpose,
            secret_hash=hash_api_secret(secret), created_at=datetime.now(UTC),
        )  # fmt: skip
        if is_signed:
            await insert(
                connection, "undertakings", id=uuid4(), org_id=org, signer=f"api-key:{key}", version=BUILT_IN.version,
                digest=BUILT_IN.digest, signed_at=datetime.now(UTC), signed_by="operator",
            )  # fmt: skip
    return secret


async def made_means(house: House) -> Means:
    main, keyring = await house.main("api"), await house.keyring("api")
    own = OwnHosts(frozenset({"pbx.test"}), frozenset({"192.0.2.1"}), frozenset({5060}))

    def own_hosts(slug: str) -> OwnHosts:
        return OwnHosts(own.names | {f"{slug}.pbx.test"}, own.addresses, own.ports)

    clocks = Clocks(house.clock, Chance())
    notices = Notices(main, keyring, clocks, house.clock, Chance())
    voice_security, actions = VoiceSecurity(main, keyring, house.clock, own_hosts, notices), CallActions(main, house.clock, Chance())
    await voice_security.listen()
    await actions.listen()
    call_requests = CallRequests(main, keyring, house.clock, Chance())
    await call_requests.listen()
    erasures = await house.erasures("api")
    rights = Rights.of(main, keyring, erasures, house.blobs(), house.clock, Chance())
    posture = Posture({"HTTP API": "TLS 1.2 or newer"}, ("*",), "file", False, True, timedelta(hours=24), lambda: house.clock.now())
    dpa = Dpa(main, house.clock, posture)
    queries = Queries(main, keyring, house.clock, Chance())
    devices = Devices(main, keyring, house.clock, Chance(), "pbx.test")
    inbox = MessageInbox(main, keyring, voice_security, house.clock, Chance(), text_deliveries.add_all)
    return Means(
        main=main, keyring_db=await house.db("keyring", "api"), keyring=keyring, clock=house.clock,
        messages=Messages.of(main, keyring, voice_security, house.clock, Chance()),
        queries=queries, voicemail=VoicemailQueries(main, queries, house.clock), greetings=Greetings(main),
        greeting_uploads=GreetingUploads(
            main, keyring, house.spool, erasures, house.clock, Chance(), house.node, lambda _slug: Bounds(60, 1 << 20)
        ),
        recordings=await house.recordings(), spool=house.spool, erasures=erasures,
        voice_security=voice_security, simulation=Simulation(main, keyring, voice_security, house.clock),
        access_requests=AccessRequests(main, house.clock, Chance()), actions=actions, call_requests=call_requests,
        rights=rights,
        forwarding=AgentForwarding(main, keyring, voice_security, house.clock, Chance()),
        retention=RetentionRules(main, house.clock, Chance()), holds=Holds(main, keyring, house.clock, Chance()), metrics=Metrics(),
        custodian=Custodian(main, keyring, house.clock, Chance()), sealed=await house.sealed(),
        clocks=clocks, notices=notices,
        agreement=Agreement.of(main, keyring, erasures, clocks, notices, house.clock, Chance()),
        organisations=Organisations(main, keyring, house.clock, Chance()),
        readings=Readings(main, house.clock, Chance()),
        audits=made_audits(main, keyring, dpa, house.clock, Chance()),
        dpa=dpa, annexes=Annexes(main, dpa, house.clock),
        breaches=made_breaches(main, keyring, house.clock, Chance()),
        consents=Consents(main, keyring, house.clock, Chance()), do_not_call=DoNotCall(main, keyring, house.clock),
        account_deletions=AccountDeletions(main, keyring, erasures, rights.agents, notices, house.clock, Chance()),
        groups=GroupSettings(main, keyring, house.clock, Chance()),
        exceptions=ExceptionSettings(main, keyring, house.clock, Chance(), voice_security.changes),
        teams=TeamSettings(main, house.clock, Chance(), voice_security.changes),
        devices=devices, fraud_alarms=FraudAlarms(main, devices, house.clock), limits=Limits(main, house.clock), sip_domain="pbx.test",
        masking=Masking(main, keyring, house.clock, Chance()),
        links=ProvisioningLinks(main, keyring, house.clock, Chance(), "pbx.test", parse_sip_uri("sip:sip.pbx.test:5061;transport=tls")),
        audit_exports=AuditExports(main, keyring, house.clock),
        webhooks=Webhooks(main, keyring, house.clock, Chance(), Outgoing(Lookups(), ssl.create_default_context()).fault),
        callbacks=CarrierCallbacks(main, keyring, inbox, house.clock),
        events=EventFeed(main, house.clock, heartbeat_s=0.1, longest_s=0.3),
    )  # fmt: skip


@pytest.fixture
async def office(databases: Databases, tmp_path: Path) -> AsyncIterator[Office]:
    house = await made_house(databases, tmp_path)
    other = await add_org(await house.main("owner"), "globex")
    await (await house.keyring("owner")).create_organisation(other)
    means = await made_means(house)
    listener = bound(Listen(scheme="http", host="127.0.0.1", port=0))
    settings = uvicorn.Config(
        application(means, is_tls=False), loop="none", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    office = Office(house, f"http://127.0.0.1:{listener.getsockname()[1]}", means, other)
    for role in ROLES:
        office.keys["acme", role] = await add_key(house, house.org, role)
    office.keys["globex", "owner"] = await add_key(house, other, "owner")
    async with (await house.main("owner")).organisation(house.org) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = '{AT,DE}'")
    try:
        yield office
    finally:
        server.should_exit = True
        await serving
        listener.close()


def shown(response: httpx.Response) -> dict[str, Any]:
    """The JSON of a 200 answer."""
    assert response.status_code == 200, response.text
    found: dict[str, Any] = json.loads(response.content)
    return found


def as_json(body: object) -> dict[str, Any]:
    """A body with every character escaped, so that it may hold what UTF-8 can't."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """A problem of this status, which repeats nothing of what it was asked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert {"type", "title", "detail"} <= found.keys()
    return found


__all__ = ["ROLES", "CallId", "Office", "RecordingId", "add_key", "as_json", "office", "problem", "shown", "timedelta"]
