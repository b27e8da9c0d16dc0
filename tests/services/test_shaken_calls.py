"""Signed caller numbers through a whole gateway: verified from a carrier with a real certificate server, signed towards one."""

import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives import serialization

from hushwire.api.metrics import Metrics
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.provisioning_specs import NumberSpec
from hushwire.sip import effects as sip
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.passport import DIV, Attestation, Passport, parse, verifies
from hushwire.sip.passport import signed as sign
from tests.databases import Databases
from tests.polling import until
from tests.services.carriers import trunk_spec
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, World, need_program, running, specs
from tests.services.test_masking import PROXY, session
from tests.sti import CODE_709J, Authority, Repository, issue, repository, statement

pytestmark = need_program

CALLER = "+442079460999"
URL = "https://cert.example.org/ours.pem"


class Scene:
    """A gateway, who signs for callers, and where the certificates are."""

    def __init__(self, world: World, web: Repository, root: Authority, signer: Authority) -> None:
        self.world, self.web, self.root, self.signer = world, web, root, signer
        self.url = web.serve("/709J.pem", signer.pem)
        self.seen = 0

    def signed(self, caller: str = CALLER, called: str = ANNA_NUMBER, at: float | None = None, **more: Any) -> str:
        """A statement for a call of now."""
        url, signer = more.pop("url", self.url), more.pop("signer", self.signer)
        return statement(signer, url, caller, called, time.time() if at is None else at, origid=uuid4(), **more)

    async def call(self, *identities: str, caller: str = CALLER, to: str = ANNA_NUMBER) -> None:
        """The carrier calls."""
        carrier = self.world.carrier
        carrier.user = caller
        lines = [("Identity", value) for value in identities]
        carrier.invite(f"sip:{to}@127.0.0.1:{self.world.port}", srtp=Srtp.NEVER, headers=lines)

    async def rung(self, anna: Any) -> tuple[Request, Any]:
        """What anna's phone is told, and the row once it is over: she is busy."""
        incoming = await anna.expect(sip.RequestReceived)
        anna.endpoint.respond(incoming.tx, 486)
        while not isinstance(await self.world.carrier.events.get(), sip.Rejected):
            pass
        return incoming.request, await self.next_row()

    async def next_row(self) -> Any:
        """The row of one call more than were seen, once it says that the call is over."""

        async def ended() -> Any:
            rows = await self.world.rows("calls", order="started_at")
            return rows if len(rows) > self.seen and all(row["ended_at"] is not None for row in rows) else None

        rows = await until(ended, what="the row")
        self.seen = len(rows)
        return rows[-1]


@asynccontextmanager
async def scene(databases: Databases, folder: Path, **environ: str) -> AsyncIterator[Scene]:
    now = datetime.now(UTC)
    root = issue("root", ca=True, now=now)
    signer = issue("SHAKEN 709J", issue("middle", root, ca=True, now=now), numbers=CODE_709J, now=now)
    files = folder / "files"
    files.mkdir()
    (files / "roots.pem").write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    (files / "ours.pem").write_bytes(signer.pem)
    (files / "ours.key").touch(0o600)
    (files / "ours.key").write_bytes(signer.key_pem)
    async with repository(files) as web:
        named = {"AUTHORITIES": files / "roots.pem", "REPOSITORIES": web.authority, "KEY": files / "ours.key",
                 "CERTIFICATE": files / "ours.pem"}  # fmt: skip
        settings = {f"HUSHWIRE_SHAKEN__{name}": str(path) for name, path in named.items()}
        settings |= {"HUSHWIRE_SHAKEN__CERTIFICATE_URL": URL, "HUSHWIRE_SHAKEN__NETWORKS": '["127.0.0.0/8"]',
                     "HUSHWIRE_SHAKEN__PORTS": f"[{web.port}]", "HUSHWIRE_SHAKEN__WAIT_MS": "5000", **environ}  # fmt: skip
        async with running(databases, folder, environ=settings, record="none") as world:
            yield Scene(world, web, root, signer)


async def set_up(world: World, *, numbers: tuple[NumberSpec, ...] | None = None, shows: str | None = None, **trunk: Any) -> None:
    """The carrier's trunk as the test wants it, known to the gateway."""
    desired = replace(specs(world.carrier.local_port, record="none"), trunks=(trunk_spec("carrier", world.carrier, **trunk),))
    org = desired.orgs[0]
    agents = org.agents if shows is None else (replace(org.agents[0], caller_id=shows), *org.agents[1:])
    await world.provisioning.apply(replace(desired, orgs=(replace(org, agents=agents, numbers=numbers or org.numbers),)), prune=True)

    def known() -> bool:
        found = world.gateway.directory.trunks[0]
        anna = world.organisation.by_username["anna"].caller_id
        has_numbers = all((world.gateway.directory.find_number(each.number) is not None) for each in numbers or ())
        is_set = all(getattr(found, name) == value for name, value in trunk.items())
        return is_set and has_numbers and (shows is None or (anna is not None and anna.reveal() == shows))

    await until(known, what="the gateway knows its trunk")


def verdict(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("caller_verdict", "caller_verdict_reason", "caller_attestation", "caller_signer"))


def asserted(request: Request) -> str | None:
    return request.headers.get("P-Asserted-Identity")


async def test_what_a_carrier_signs_is_verified_written_down_and_shown_to_the_phone(databases: Databases, tmp_path: Path) -> None:
    async with scene(databases, tmp_path) as it:
        await set_up(it.world, verify="show")
        anna = await it.world.peer("anna")
        for attest, word in ((Attestation.FULL, "Passed"), (Attestation.PARTIAL, "Passed-B"), (Attestation.GATEWAY, "Passed-C")):
            await it.call(it.signed(attest=attest))
            request, row = await it.rung(anna)
            assert verdict(row) == ("passed", None, attest.value, "709J")
            assert asserted(request) == f"<sip:{CALLER};verstat=TN-Validation-{word}@voice.example.org;user=phone>"
            assert "Identity" not in request.to_bytes().decode().replace("P-Asserted-Identity", "")
        assert it.web.asked == ["/709J.pem"], "the certificate is fetched once"
        # Said again for another call, it is an old statement in a new mouth.
        said = it.signed()
        await it.call(said)
        assert verdict((await it.rung(anna))[1])[0] == "passed"
        await it.call(said)
        request, row = await it.rung(anna)
        assert verdict(row) == ("failed", "replayed", None, None)
        assert "TN-Validation-Failed" in (asserted(request) or "")
        await it.call()
        request, row = await it.rung(anna)
        assert verdict(row) == ("unverified", "unsigned", None, None)
        assert "No-TN-Validation" in (asserted(request) or "")
        # Meant for somebody else, and sent on by who may: each step is signed.
        before, now = "+493023125777", int(time.time())
        step = Passport(DIV, it.url, now, CALLER[1:], (ANNA_NUMBER[1:],), div=before[1:])
        div = f"{sign(step, it.signer.key)};info=<{it.url}>;alg=ES256;ppt=div"
        await it.call(it.signed(called=before), div)
        assert verdict((await it.rung(anna))[1]) == ("passed", None, "A", "709J")
        await it.call(it.signed(called=before))
        assert verdict((await it.rung(anna))[1]) == ("failed", "called-mismatch", None, None)
        # A caller who shows no number is told nothing about.
        await it.call(it.signed(), caller="anonymous")
        request, row = await it.rung(anna)
        assert verdict(row) == ("unverified", "no-number", None, None)
        assert asserted(request) is None


async def test_statements_that_do_not_hold_fail_and_the_call_goes_on(databases: Databases, tmp_path: Path) -> None:
    async with scene(databases, tmp_path) as it:
        await set_up(it.world, verify="show")
        anna = await it.world.peer("anna")
        now = datetime.now(UTC)
        stranger = issue("SHAKEN 709J", issue("middle", issue("root", ca=True, now=now), ca=True, now=now), numbers=CODE_709J, now=now)
        expired = issue("old", it.root, numbers=CODE_709J, begins=now - timedelta(days=3), ends=now - timedelta(days=2), now=now)
        head, _, rest = it.signed().partition(".")
        cases = {
            "stale": it.signed(at=time.time() - 70),
            "not-yet-valid": it.signed(at=time.time() + 70),
            "caller-mismatch": it.signed(caller="+442079460998"),
            "called-mismatch": it.signed(called="+493023125001"),
            "signature": it.signed(signer=stranger),
            "certificate-untrusted": it.signed(signer=stranger, url=it.web.serve("/stranger.pem", stranger.pem)),
            "certificate-expired": it.signed(signer=expired, url=it.web.serve("/expired.pem", expired.pem)),
            "certificate-unreadable": it.signed(url=it.web.serve("/page.html", b"<html>certificates are elsewhere</html>")),
            "malformed": f"{head[:-4]}AAAA.{rest}",
            "certificate-url": it.signed(url="http://127.0.0.1/709J.pem"),
            "header-mismatch": it.signed().replace(f"info=<{it.url}>", "info=<https://cert.example.org/other.pem>"),
            "oversized": "A" * 8200,
        }
        for reason, value in cases.items():
            await it.call(value)
            request, row = await it.rung(anna)
            assert verdict(row) == ("failed", reason, None, None)
            assert "TN-Validation-Failed" in (asserted(request) or "")
        # These only can't be checked.
        inner = it.web.serve("/inner.pem", it.signer.pem)
        elsewhere = it.web.serve("/moved.pem", b"", 302, ("Location", inner))
        for url in (elsewhere, it.web.url("/none.pem"), "https://10.1.1.1/709J.pem", f"https://169.254.169.254:{it.web.port}/latest"):
            await it.call(it.signed(url=url))
            assert verdict((await it.rung(anna))[1]) == ("unverified", "certificate-unreachable", None, None)
        assert "/inner.pem" not in it.web.asked
        told, metrics = it.world.gateway._vouching.told(), Metrics()
        assert told == {"callers_failed": len(cases), "callers_unverified": 4}
        metrics.note_registrar([told, {"callers_passed": 3}])
        for word, count in (("passed", 3), ("failed", len(cases)), ("unverified", 4)):
            assert metrics.registry.get_sample_value("hushwire_callers", {"verdict": word}) == count


async def test_a_call_waits_for_a_certificate_no_longer_than_it_may_and_the_next_finds_it(databases: Databases, tmp_path: Path) -> None:
    async with scene(databases, tmp_path, HUSHWIRE_SHAKEN__WAIT_MS="200") as it:
        await set_up(it.world, verify="note")
        anna = await it.world.peer("anna")
        it.web.answers["/slow.pem"] = None
        slow = it.web.url("/slow.pem")
        await it.call(it.signed(url=slow))
        request, row = await it.rung(anna)
        assert verdict(row) == ("unverified", "late", None, None)
        assert asserted(request) is None, "note only writes it down"
        it.web.serve("/slow.pem", it.signer.pem)
        it.web.go_on.set()
        certificates = it.world.gateway._signing_certificates
        assert certificates is not None
        await until(lambda: certificates.known(slow) is not None, what="the certificate came")
        await it.call(it.signed(url=slow))
        assert verdict((await it.rung(anna))[1])[0] == "passed"
        assert it.web.asked == ["/slow.pem"]


async def test_a_caller_who_gives_up_while_the_certificate_is_awaited_leaves_nothing(databases: Databases, tmp_path: Path) -> None:
    async with scene(databases, tmp_path, HUSHWIRE_SHAKEN__WAIT_MS="2000") as it:
        await set_up(it.world, verify="note")
        await it.world.peer("anna")
        it.web.answers["/slow.pem"] = None
        carrier = it.world.carrier
        carrier.user = CALLER
        invite = carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{it.world.port}", srtp=Srtp.NEVER,
                                headers=[("Identity", it.signed(url=it.web.url("/slow.pem")))])  # fmt: skip
        await it.web.was_asked.wait()
        carrier.endpoint.cancel(invite)
        while not isinstance(event := await carrier.events.get(), sip.Rejected):
            pass
        assert event.status == 487
        row = await it.world.row("calls", end_reason="cancelled")
        assert verdict(row) == (None, None, None, None)
        it.web.serve("/slow.pem", it.signer.pem)
        it.web.go_on.set()
        await until(lambda: not it.world.gateway.calling.table.calls, what="nothing is left")


async def test_a_masked_caller_is_verified_and_nothing_is_said_of_the_number_that_stands_for_it(
    databases: Databases, tmp_path: Path
) -> None:
    async with scene(databases, tmp_path) as it:
        await set_up(it.world, verify="show", numbers=(NumberSpec(ANNA_NUMBER, "anna"), NumberSpec(PROXY, None, masks=True)))
        anna = await it.world.peer("anna")
        made = await session(it.world, CALLER, ANNA_NUMBER)
        await it.call(it.signed(called=made.number), to=made.number)
        request, row = await it.rung(anna)
        assert verdict(row) == ("passed", None, "A", "709J")
        assert asserted(request) is None
        said = request.to_bytes().decode()
        assert CALLER[1:] not in said
        assert "verstat" not in said


async def test_a_trunk_that_is_not_verified_has_no_verdict_and_fetches_nothing(databases: Databases, tmp_path: Path) -> None:
    async with scene(databases, tmp_path) as it:
        anna = await it.world.peer("anna")
        await it.call(it.signed())
        request, row = await it.rung(anna)
        assert verdict(row) == (None, None, None, None)
        assert asserted(request) is None
        assert it.web.asked == []


async def test_what_we_sign_is_the_number_that_is_shown_and_how_much_we_know_of_it(databases: Databases, tmp_path: Path) -> None:
    async with scene(databases, tmp_path) as it:
        anna = await it.world.peer("anna")

        async def signed_by_us(headers: Iterable[Line] = ()) -> tuple[Any, Any, Any]:
            anna.invite(FAR_NUMBER, headers=headers)
            incoming = await it.world.carrier.expect(sip.RequestReceived)
            it.world.carrier.endpoint.respond(incoming.tx, 486)
            await anna.expect(sip.Rejected)
            values = incoming.request.headers.all("Identity")
            (attempt,) = json.loads((await it.next_row())["trunk_attempts"])
            if not values:
                return None, incoming.request, attempt.get("attestation")
            (value,) = values
            text, _, params = value.partition(";")
            assert params == f"info=<{URL}>;alg=ES256;ppt=shaken"
            token = parse(text)
            assert verifies(token, it.signer.key.public_key())
            assert token.passport.attest is not None
            assert token.passport.attest.value == attempt["attestation"]
            return token.passport, incoming.request, attempt["attestation"]

        passport, _, attestation = await signed_by_us()
        assert (passport, attestation) == (None, None), "nobody asked for it"
        await set_up(it.world, signs=True)
        passport, request, attestation = await signed_by_us()
        assert attestation == "A"
        assert (passport.orig, passport.dest) == (ANNA_NUMBER[1:], (FAR_NUMBER[1:],))
        assert abs(passport.iat - time.time()) < 30
        assert passport.x5u == URL
        origid = UUID(passport.origid)
        # A number that is nobody's of ours, or another organisation's, is not the caller's to show: she alone is known.
        await set_up(it.world, signs=True, shows="+493023125099")
        passport, request, attestation = await signed_by_us()
        assert (passport.orig, attestation, UUID(passport.origid)) == ("493023125099", "B", origid)
        assert "sip:+493023125099@" in str(request.from_)
        # The trunk may want less said, numbers written otherwise, or a number of its own shown.
        await set_up(it.world, signs=True, shows=ANNA_NUMBER, attest=Attestation.GATEWAY, number_format="e164")
        passport, request, attestation = await signed_by_us()
        assert (passport.orig, passport.dest, attestation) == (ANNA_NUMBER[1:], (FAR_NUMBER[1:],), "C")
        assert f"sip:{FAR_NUMBER[1:]}@" in request.uri
        await set_up(
            it.world, signs=True, shows="+493023125099", numbers=(NumberSpec(ANNA_NUMBER, "ben"), NumberSpec("+493023125099", None))
        )
        passport, _, attestation = await signed_by_us()
        assert (passport.orig, attestation) == ("493023125099", "A"), "the organisation's, whomever it rings"
        # Who hides is signed for only where the carrier is told who it is.
        anna_hides = [("Privacy", "id")]
        await set_up(it.world, signs=True, trusted=True)
        passport, request, attestation = await signed_by_us(anna_hides)
        assert (passport.orig, attestation, request.from_.uri.host) == (ANNA_NUMBER[1:], "A", "anonymous.invalid")
        await set_up(it.world, signs=True, trusted=False)
        passport, request, attestation = await signed_by_us(anna_hides)
        assert (passport, attestation) == (None, None)
        assert ANNA_NUMBER[1:] not in request.to_bytes().decode()
        await set_up(it.world, signs=True, caller_id="anonymous")
        passport, request, attestation = await signed_by_us()
        assert (passport, attestation) == (None, None)
        assert ANNA_NUMBER[1:] not in request.to_bytes().decode()
