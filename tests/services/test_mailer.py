"""Mail handed to real servers: TLS that is verified, passwords, and every way of saying no."""

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from hushwire.privacy import mail
from hushwire.services.mailer import Accepted, MailServer, Refused, Stage, Unreachable, is_loopback
from tests.interop.authorities import ThrowAway
from tests.mailhost import PASSWORD, USER, MailHost, mail_host
from tests.recorded import HouseClock

SENDER, ANNA = "privacy@voice.example.org", "anna@acme.example"
MESSAGE = mail.composed(
    notice=UUID(int=7), sender=SENDER, recipient=ANNA, subject="A notice", body="Grüße.\n.\nEnd\n", at=HouseClock().now()
)


@pytest.fixture
def authority(tmp_path: Path) -> ThrowAway:
    return ThrowAway.make(tmp_path / "ca")


@pytest.fixture
def context(authority: ThrowAway) -> ssl.SSLContext:
    certified = authority.certify(address="127.0.0.1")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certified.certificate, certified.key)
    return made


@pytest.fixture
def plain() -> Iterator[MailHost]:
    with mail_host() as host:
        yield host


def server(host: MailHost, scheme: str = "smtp", *, user: str | None = None, authorities: Path | None = None) -> MailServer:
    login = f"{user}@" if user else ""
    return MailServer.of(f"{scheme}://{login}127.0.0.1:{host.port}", SENDER, PASSWORD, str(authorities) if authorities else None)


def encrypting(known: MailServer) -> MailServer:
    """As it would be towards another machine."""
    return MailServer(known.host, known.port, known.is_tls_from_start, True, known.sender, known.username, known.password, known.context)


async def test_what_was_sent_arrives_as_it_was_with_dots_and_umlauts(plain: MailHost) -> None:
    outcome = await server(plain).send(ANNA, MESSAGE)
    assert isinstance(outcome, Accepted)
    assert (outcome.code, outcome.is_encrypted) == (250, False)
    assert outcome.message_digest == hashlib.sha256(MESSAGE).hexdigest()
    assert outcome.server_digest == hashlib.sha256(b"mx.mail.test").hexdigest()
    (message,) = plain.messages
    assert plain.recipients == [ANNA]
    assert message.get_content().splitlines() == ["Grüße.", ".", "End"]
    assert (message["Message-ID"], message["Auto-Submitted"]) == (f"<{UUID(int=7)}@voice.example.org>", "auto-generated")


async def test_tls_from_the_start_with_a_password(authority: ThrowAway, context: ssl.SSLContext) -> None:
    with mail_host(tls=context, auth=True) as host:
        outcome = await server(host, "smtps", user=USER, authorities=authority.file).send(ANNA, MESSAGE)
        assert isinstance(outcome, Accepted)
        assert outcome.is_encrypted
        assert host.logins == [USER]


async def test_starttls_with_a_password(authority: ThrowAway, context: ssl.SSLContext) -> None:
    with mail_host(starttls=context, auth=True) as host:
        outcome = await encrypting(server(host, user=USER, authorities=authority.file)).send(ANNA, MESSAGE)
        assert isinstance(outcome, Accepted)
        assert outcome.is_encrypted
        assert host.logins == [USER]


@pytest.mark.parametrize("how", ["tls", "starttls"])
async def test_a_certificate_of_a_stranger_is_told_nothing(tmp_path: Path, context: ssl.SSLContext, how: str) -> None:
    other = ThrowAway.make(tmp_path / "other")
    with mail_host(**{how: context}, auth=True) as host:  # type: ignore[arg-type]
        known = server(host, "smtps" if how == "tls" else "smtp", user=USER, authorities=other.file)
        outcome = await encrypting(known).send(ANNA, MESSAGE)
    assert outcome == Unreachable("tls")
    assert host.logins == host.messages == []


async def test_a_certificate_for_another_name_is_told_nothing(authority: ThrowAway) -> None:
    certified = authority.certify(address="127.0.0.9")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified.certificate, certified.key)
    with mail_host(tls=context, auth=True) as host:
        outcome = await server(host, "smtps", user=USER, authorities=authority.file).send(ANNA, MESSAGE)
    assert outcome == Unreachable("tls")
    assert host.logins == []


async def test_without_tls_another_machine_gets_neither_password_nor_message(plain: MailHost) -> None:
    assert await encrypting(server(plain, user=USER)).send(ANNA, MESSAGE) == Unreachable("no-tls")
    assert plain.logins == plain.messages == []


async def test_a_wrong_password_is_our_own_fault_and_not_the_recipients(authority: ThrowAway, context: ssl.SSLContext) -> None:
    with mail_host(tls=context, auth=True) as host:
        outcome = await server(host, "smtps", user="nobody", authorities=authority.file).send(ANNA, MESSAGE)
    assert outcome == Refused(Stage.LOGIN, 535)
    assert not outcome.is_recipients_fault


@pytest.mark.parametrize(
    ("mood", "stage", "code", "is_recipients_fault"),
    [
        ({"refused": {ANNA}}, Stage.RECIPIENT, 550, True),
        ({"spam": True}, Stage.CONTENT, 554, True),
        ({"greylist": 1}, Stage.RECIPIENT, 451, False),
        ({"full": True}, Stage.RECIPIENT, 452, False),
        ({"rejects_sender": True}, Stage.SENDER, 553, False),
    ],
)
async def test_a_refusal_says_at_which_stage_and_whether_another_recipient_would_help(
    plain: MailHost, mood: dict[str, object], stage: Stage, code: int, is_recipients_fault: bool
) -> None:
    for name, value in mood.items():
        setattr(plain, name, value)
    outcome = await server(plain).send(ANNA, MESSAGE)
    assert isinstance(outcome, Refused)
    assert (outcome.stage, outcome.code, outcome.is_recipients_fault) == (stage, code, is_recipients_fault)
    assert plain.messages == []


async def test_a_connection_that_breaks_is_no_answer(plain: MailHost) -> None:
    plain.drops_in_data = 1
    assert isinstance(await server(plain).send(ANNA, MESSAGE), Unreachable)
    plain.silent_after_data = 1
    assert isinstance(await server(plain).send(ANNA, MESSAGE), Unreachable)
    assert isinstance(await server(plain).send(ANNA, MESSAGE), Accepted)
    assert len(plain.messages) == 2


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with mail_host() as host:
        known = server(host)
    assert await known.send(ANNA, MESSAGE) == Unreachable("no-connection")


def test_only_this_machine_is_spoken_to_in_clear() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.0.1", "::1"))
    assert not any(is_loopback(host) for host in ("mail.example.org", "10.0.0.1", "localhost.example.org", "0.0.0.0"))
    assert not MailServer.of("smtp://127.0.0.1", SENDER).must_encrypt
    for url, port in {"smtp://mail.example.org": 587, "smtps://127.0.0.1": 465, "smtps://mail.example.org:2465": 2465}.items():
        made = MailServer.of(url, SENDER)
        assert (made.must_encrypt, made.port) == (True, port)


def test_the_password_shows_in_no_representation() -> None:
    made = MailServer.of("smtps://user:pass%40word@mail.example.org", SENDER)
    assert "pass" not in repr(made)
    assert made.password is not None
    assert (made.username, made.password.reveal()) == ("user", "pass@word")
