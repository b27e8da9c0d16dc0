"""A provisioned organisation, its directory and location service on real databases, and REGISTER requests of a phone."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.ids import NodeId
from hushwire.policy.judge import decide
from hushwire.policy.model import Attempt, Verdict
from hushwire.policy.rules import Rules
from hushwire.services.bindings import Bindings
from hushwire.services.directory import Directory
from hushwire.services.identity import Authenticator
from hushwire.services.neighbours import Neighbours
from hushwire.services.provisioning import Provisioning
from hushwire.services.provisioning_specs import AgentSpec, Desired, NumberSpec, OrgSpec, TrunkSpec
from hushwire.services.registration import Registrations
from hushwire.sip.digest import Challenger, Credentials, authorization, choose_challenge
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.store.database import Database
from hushwire.store.provisioning import OrgRow
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from tests.databases import Databases

DOMAIN = "voice.example.org"
NODE = NodeId(UUID(int=7))
ROW = OrgRow("acme", "Acme", "DE", "eu", "all", "required", False, "refuse", None, ("DE",), ())
ANNA = AgentSpec("anna", "agent", "101", "+493023125000", "annas-password", False)
BEN = AgentSpec("ben", "agent", "102", None, "bens-password", False)
TRUNK = TrunkSpec("carrier", "sip:127.0.0.1:5080;transport=udp", "never", "acme", None, (), "auto", password="trunk-password")
ORG = OrgSpec(ROW, (ANNA, BEN), (NumberSpec("+493023125000", "anna"),), ())
WHOLE = Desired((TRUNK,), (ORG,))


class Clock(SystemClock):
    """The machine's clock, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


def judge(attempt: Attempt, rules: Rules) -> Verdict:
    return decide(attempt, rules, SystemClock().now())


@dataclass
class World:
    """Everything that a REGISTER meets."""

    provisioning: Provisioning
    db: Database
    clock: Clock
    directory: Directory
    registrations: Registrations
    bindings: Bindings
    neighbours: Neighbours


async def build(databases: Databases, folder: Path) -> World:
    main, keyring_db = await databases.connect("main"), await databases.connect("keyring")
    root = RootKey(bytes(32))
    owner = Keyring(keyring_db, root.role_keys(opener=True, buckets=folder))
    await owner.establish()
    provisioning = Provisioning(main, owner, SystemClock(), SystemRandom(), DOMAIN)
    await provisioning.apply(WHOLE)
    return await gateway(databases, provisioning)


async def gateway(databases: Databases, provisioning: Provisioning, node: NodeId = NODE) -> World:
    """A gateway as its own database role, without an opener; a second one is the same gateway after a restart."""
    clock, random = Clock(), SystemRandom()
    db, keyring_db = await databases.connect("main", "gateway"), await databases.connect("keyring", "gateway")
    keyring = Keyring(keyring_db, RootKey(bytes(32)).role_keys(opener=False))
    directory = Directory(db, keyring, clock, domain=DOMAIN, default_org=None, addresses=["127.0.0.1"], ports=[5060])
    await directory.load()
    authenticator = Authenticator(directory, Challenger(random.token_bytes(32), DOMAIN, random), clock.monotonic)
    neighbours = Neighbours(node, directory.between_nodes)
    bindings = Bindings(db, directory, neighbours, clock, random, node)
    registrations = Registrations(bindings, directory, authenticator, judge, clock)
    await registrations.load()
    return World(provisioning, db, clock, directory, registrations, bindings, neighbours)


@dataclass
class Phone:
    """A device that registers."""

    username: str = "anna"
    password: str = "annas-password"
    port: int = 40000
    transport: Transport = Transport.UDP
    call_id: str = "phone@one"
    cseq: int = 0
    host: str = f"acme.{DOMAIN}"
    login: str | None = None
    address: str = "127.0.0.1"
    more: tuple[str, ...] = ()
    answers: list[tuple[int, tuple[Line, ...]]] = field(default_factory=list)

    @property
    def flow(self) -> Flow:
        return Flow(self.transport, self.port, Address("127.0.0.1", 5060), Address(self.address, self.port))

    def request(self, *, contact: str | None = None, expires: int = 300, authorization_value: str | None = None) -> Request:
        self.cseq += 1
        contact = contact or f"<sip:{self.username}@127.0.0.1:{self.port};transport={self.transport.value}>"
        lines = [
            f"REGISTER sip:{self.host} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.value.upper()} 127.0.0.1:{self.port};branch=z9hG4bK{self.port}{self.cseq}",
            f"From: <sip:{self.username}@{self.host}>;tag=a",
            f"To: <sip:{self.username}@{self.host}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            f"Contact: {contact}",
            f"Expires: {expires}",
            *self.more,
            *([f"Authorization: {authorization_value}"] if authorization_value else []),
            "Content-Length: 0",
        ]
        message = parse(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert isinstance(message, Request)
        return message

    def answer(self, challenges: list[str], nc: int = 1) -> str:
        """The Authorization value for the next request."""
        credentials = Credentials(self.login or self.username, self.password)
        challenge = choose_challenge(challenges, credentials)
        assert challenge is not None
        return authorization(challenge, credentials, method="REGISTER", uri=f"sip:{self.host}", body=b"", cnonce="c", nc=nc)

    def say(self, world: World, request: Request) -> None:
        world.registrations.handle(request, self.flow, lambda status, headers: self.answers.append((status, headers)))

    def challenges(self) -> list[str]:
        status, headers = self.answers[-1]
        assert status == 401
        return [value for name, value in headers if name == "WWW-Authenticate"]

    def challenges_before(self) -> list[str]:
        """The last challenge that it was sent."""
        headers = next(headers for status, headers in reversed(self.answers) if status == 401)
        return [value for name, value in headers if name == "WWW-Authenticate"]

    async def register(self, world: World, *, contact: str | None = None, expires: int = 300) -> int:
        """Register with one challenge; the final status, once it came."""
        self.say(world, self.request(contact=contact, expires=expires))
        value = self.answer(self.challenges())
        before = len(self.answers)
        self.say(world, self.request(contact=contact, expires=expires, authorization_value=value))
        await world.registrations.settled()
        assert len(self.answers) == before + 1
        return self.answers[-1][0]
