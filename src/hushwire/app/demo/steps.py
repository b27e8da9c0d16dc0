"""The nine steps of the demo, each proving its claim from outside: SIP answers, packets, sound, HTTP answers, files, rows."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import av
import numpy as np
import orjson
from numpy.typing import NDArray

from hushwire.app import config as configuration
from hushwire.app.databases import Databases
from hushwire.app.demo.correlate import Match, correlate, correlate_with_slips
from hushwire.app.demo.packets import Look, Sniffer, look
from hushwire.app.demo.party import Heard, Party, PartyError
from hushwire.app.demo.plaintext import Needles
from hushwire.app.demo.scene import ALLOWED_NUMBER, CALLER_ID, FOREIGN_NUMBER, Scene, StepFailed, Talk
from hushwire.app.demo.speech import RATE
from hushwire.app.demo.stack import DOMAIN
from hushwire.app.folders import Folders, account
from hushwire.store import roles

TALK_S: Final = 7.0
SAME: Final = 0.9
OTHER: Final = 0.3
SEALED_WITHIN_S: Final = 10.0
ROW_WITHIN_S: Final = 5.0

Step = Callable[[Scene], Awaitable[str]]


async def register(scene: Scene) -> str:
    """The agent's softphone registers over TLS, with the gateway's certificate checked against `ca.pem`."""
    host, port = scene.stack.sip("tls")
    login = scene.stack.secrets["agents"]["acme/anna"]
    began = time.monotonic()
    await scene.agent.tell(
        "account",
        uri=f"sip:anna@acme.{DOMAIN}",
        registrar=f"sip:acme.{DOMAIN};transport=tls",
        proxy=f"sip:{host}:{port};transport=tls;lr",
        username=login["sip_username"],
        password=login["sip_password"],
        srtp="mandatory",
    )
    event = await scene.agent.expect("registration", timeout_s=15)
    scene.check(event["status"] == 200, f"the gateway answered REGISTER with {event['status']}")
    scene.figures["register_ms"] = _ms(began)
    return f"anna's softphone registered over TLS for {event['expires_s']} s"


async def call(scene: Scene) -> str:
    """The agent calls an allowed country; both talk, and each hears the other and not itself."""
    scene.talk = await talk(scene, ALLOWED_NUMBER, TALK_S)
    heard, theirs = scene.talk.agent_heard, scene.talk.carrier_heard
    carrier = _hears(scene, "the carrier", theirs, scene.agent_speech, scene.carrier_speech, heard.mouth_began)
    agent = _hears(scene, "the agent", heard, scene.carrier_speech, scene.agent_speech, theirs.mouth_began)
    scene.figures |= {
        "carrier_hears_agent": round(carrier.score, 4),
        "agent_hears_carrier": round(agent.score, 4),
        "delay_to_carrier_ms": round(carrier.delay_ms, 1),
        "delay_to_agent_ms": round(agent.delay_ms, 1),
    }
    return (
        f"{scene.talk.seconds:.1f} s to {ALLOWED_NUMBER}; sound matches {carrier.score:.3f} and {agent.score:.3f}, "
        f"delays {carrier.delay_ms:.0f} and {agent.delay_ms:.0f} ms"
    )


async def encryption(scene: Scene) -> str:
    """The packets of the agent's leg are SRTP and those of the trunk's are RTP; the API says the same."""
    lived = scene.heard_talk()
    for name, seen in lived.looks.items():
        wanted = seen.is_protected if name.startswith("agent") else seen.is_plain
        kind = "SRTP" if name.startswith("agent") else "plain RTP"
        scene.check(
            wanted,
            f"{name}: {seen.packets} packets of {seen.payload_bytes} bytes, sound {seen.sound.score:.2f}, do not look like {kind}",
        )
    agent_leg, trunk_leg = (lived.api_call.get(leg) or {} for leg in ("agent_leg", "peer_leg"))
    scene.check(_is_srtp(agent_leg), f"the API does not call the agent's leg SRTP: {agent_leg}")
    scene.check(not _is_srtp(trunk_leg), f"the API does not call the trunk's leg clear: {trunk_leg}")
    how = "on the interface" if scene.may_sniff else "as the kernel copied them back"
    return f"{sum(s.packets for s in lived.looks.values())} packets looked at {how}: agent leg {agent_leg.get('suite')}, trunk leg clear"


async def refuse(scene: Scene) -> str:
    """A country that is not on the list is refused at once, before the trunk sees anything."""
    took_ms = await refused(scene, FOREIGN_NUMBER)
    scene.figures["refused_in_ms"] = took_ms
    row = await _call_in(scene, "refused")
    return f"{FOREIGN_NUMBER} refused with 403 in {took_ms:.0f} ms ({row.get('verdict_reason')}); nothing reached the carrier"


async def remove_country(scene: Scene) -> str:
    """A country is taken off the list by API: the next call there is refused."""
    question = {"agent": "anna", "destination": ALLOWED_NUMBER, "channel": "invite"}
    before = await scene.api.post("/v1/voice-security/check", question)
    scene.check(before["verdict"] == "allow", f"{ALLOWED_NUMBER} was not allowed to begin with: {before}")
    await scene.api.put("/v1/voice-security", {"allowed_countries": ["DE"]})
    changed = time.monotonic()
    await refused(scene, ALLOWED_NUMBER)
    obeyed_ms = _ms(changed)
    scene.check(obeyed_ms < 1000, f"the next call took {obeyed_ms:.0f} ms to be refused")
    after = await scene.api.post("/v1/voice-security/check", question)
    scene.check(after["verdict"] == "deny", f"the check still answers {after['verdict']}")
    scene.figures["rules_obeyed_ms"] = obeyed_ms
    return f"GB removed by API; the call to {ALLOWED_NUMBER} was refused {obeyed_ms:.0f} ms later"


async def recording(scene: Scene) -> str:
    """The call's recording is listed, sealed on the disk, and decodes to both speakers on their own channels."""
    lived = scene.heard_talk()
    found = await _closed_recording(scene)
    scene.recording_id, scene.org_id = UUID(found["id"]), _uuid(found.get("org_id"))
    listed_s = found["duration_ms"] / 1000
    scene.check(abs(listed_s - lived.seconds) <= 0.5, f"the recording has {listed_s:.2f} s, the call had {lived.seconds:.2f} s")
    scene.sealed_file = sealed_file(scene)
    scene.check(scene.sealed_file.read_bytes()[:4] == b"HWR1", f"{scene.sealed_file} is not a sealed recording")
    size = await asyncio.to_thread(_search, scene)
    answer = scene.api.accepted(await scene.api.ask("GET", f"/v1/recordings/{found['id']}/audio?format=wav"), "GET", "the audio")
    left, right = decode_stereo(answer.body)
    agent = _best(scene.agent_speech, left)
    other = _best(scene.carrier_speech, right)
    swapped = max(correlate(scene.agent_speech, right, RATE).score, correlate(scene.carrier_speech, left, RATE).score)
    scene.check(agent.score >= SAME, f"the left channel matches the agent by {agent.score:.2f} only", "the audio of the recording")
    scene.check(other.score >= SAME, f"the right channel matches the other party by {other.score:.2f} only", "the audio of the recording")
    scene.check(swapped < OTHER, f"the channels hold each other's speaker ({swapped:.2f})", "the audio of the recording")
    scene.figures |= {
        "recording_left": round(agent.score, 4),
        "recording_right": round(other.score, 4),
        "searched_mb": round(size / 1e6, 1),
    }
    return (
        f"{listed_s:.1f} s, agent left {agent.score:.3f}, other right {other.score:.3f}, swapped {swapped:.2f}; "
        f"no readable sound in {size / 1e6:.0f} MB on disk"
    )


async def delete(scene: Scene) -> str:
    """DELETE destroys the key and answers with a signed receipt."""
    path = f"/v1/recordings/{scene.recording()}"
    began = time.monotonic()
    answer = await scene.api.ask("DELETE", path)
    scene.figures["delete_ms"] = _ms(began)
    scene.check(answer.status == 200, f"DELETE answered {answer.status}: {answer.body[:200].decode(errors='replace')}")
    scene.receipt = scene.stack.folder / "receipt.json"
    scene.receipt.write_bytes(_receipt_bytes(answer.body, answer.json()))
    return f"deleted in {scene.figures['delete_ms']:.0f} ms, receipt in {scene.receipt}"


async def gone(scene: Scene) -> str:
    """Reads answer 410, the key's row is absent, and the sealed file is swept from the disk."""
    identity = scene.recording()
    for path in (f"/v1/recordings/{identity}", f"/v1/recordings/{identity}/audio?format=wav"):
        answer = await scene.api.ask("GET", path)
        scene.check(answer.status == 410, f"GET {path} answers {answer.status}, not 410")
    rows = await _key_rows(scene, identity)
    scene.check(rows == 0, "the sealed data key still stands in the keyring")
    began = time.monotonic()
    assert scene.sealed_file is not None
    while scene.sealed_file.exists() or _named(scene, identity):
        if time.monotonic() - began > 15:
            raise StepFailed("the worker has not swept the sealed file after 15 s", str(scene.stack.log))
        await asyncio.sleep(0.05)
    scene.figures["swept_ms"] = _ms(began)
    return f"410, no key row, file swept within {scene.figures['swept_ms']:.0f} ms more"


async def receipt(scene: Scene) -> str:
    """The receipt verifies offline against the published keys; with one byte changed it does not."""
    scene.check(scene.receipt is not None, "there is no receipt to verify", "the step `delete`")
    assert scene.receipt is not None
    published = await scene.api.ask("GET", "/.well-known/hushwire-keys.json")
    scene.check(published.status == 200, f"the published keys answer {published.status}")
    keys = scene.stack.folder / "hushwire-keys.json"
    keys.write_bytes(published.body)
    await scene.stack.run("verify-receipt", str(scene.receipt), "--keys", str(keys))
    data = bytearray(scene.receipt.read_bytes())
    place = data.index(b'"signature"') // 2
    data[place] ^= 1
    forged = scene.stack.folder / "forged.json"
    forged.write_bytes(bytes(data))
    status, _, _ = await scene.stack.attempt("verify-receipt", str(forged), "--keys", str(keys))
    scene.check(status != 0, "a receipt with one bit changed was accepted", str(forged))
    return "verified offline; refused with one bit changed"


STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("register", register),
    ("call", call),
    ("encryption", encryption),
    ("refuse", refuse),
    ("remove-country", remove_country),
    ("recording", recording),
    ("delete", delete),
    ("gone", gone),
    ("receipt", receipt),
)


async def talk(scene: Scene, number: str, seconds: float) -> Talk:
    """One answered call from the agent to the carrier, of `seconds`, ended by the agent."""
    seen = len(scene.carrier.events)
    began = time.monotonic()
    try:
        mine = await scene.agent.call(scene.uri(number))
        incoming = await scene.carrier.expect("incoming", since=seen, timeout_s=10)
        scene.figures["reached_carrier_ms"] = _ms(began)
        await scene.agent.expect_state(mine, "confirmed")
        theirs = int(incoming["call"])
        await scene.carrier.expect_state(theirs, "confirmed")
    except PartyError as error:
        raise StepFailed(f"the call to {number} did not come about: {error}", str(scene.stack.log)) from None
    scene.check(CALLER_ID in incoming["from"], "the carrier was not shown the agent's caller id")
    answered = time.monotonic()
    ports = {"agent": await scene.agent.tell("stats", call=mine), "trunk": await scene.carrier.tell("stats", call=theirs)}
    numbers = {name: int(told["rtp_port"]) for name, told in ports.items()}
    sniffer = Sniffer.open(numbers.values()) if scene.may_sniff else None
    await asyncio.sleep(answered + seconds - time.monotonic())
    live = await _call_in(scene, "active")
    if sniffer is not None:
        sniffer.close()
    await scene.agent.hangup(mine)
    lasted = time.monotonic() - answered
    await scene.carrier.expect_state(theirs, "disconnected")
    looks = await _looks(scene, sniffer, numbers, mine, theirs)
    return Talk(
        await scene.agent.heard(mine), await scene.carrier.heard(theirs), looks, await scene.api.get(f"/v1/calls/{live['id']}"), lasted
    )


async def refused(scene: Scene, number: str) -> float:
    """A call that must be refused with 403 before the carrier sees anything; returns the milliseconds it took."""
    seen = len(scene.carrier.events)
    began = time.monotonic()
    mine = await scene.agent.call(scene.uri(number))
    ended = await scene.agent.expect_state(mine, "disconnected")
    took_ms = _ms(began)
    scene.check(ended["status"] == 403, f"the call to {number} ended with {ended['status']} {ended['reason']}, not with 403")
    scene.check(len(scene.carrier.events) == seen, "the carrier saw something of a refused call")
    return took_ms


def decode_stereo(audio: bytes) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Left and right channel at 8 kHz of any file that PyAV reads. Raises ValueError unless there are two channels."""
    pieces = []
    resampler = av.AudioResampler(format="s16p", layout="stereo", rate=RATE)
    with av.open(io.BytesIO(audio), "r") as container:
        if container.streams.audio[0].codec_context.channels != 2:
            raise ValueError("not a stereo recording")
        for frame in container.decode(audio=0):
            pieces += [part.to_ndarray() for part in resampler.resample(frame)]
        pieces += [part.to_ndarray() for part in resampler.resample(None)]
    both = np.concatenate(pieces, axis=1).astype(np.int16)
    return both[0], both[1]


def sealed_file(scene: Scene) -> Any:
    """The `.hwr` file of the recording, in the spool or in the store."""
    found = _named(scene, scene.recording())
    if not found:
        raise StepFailed("no sealed file of the recording is in the spool or the store", str(scene.stack.data))
    return found[0]


def _named(scene: Scene, identity: UUID) -> list[Any]:
    names = (str(identity), identity.hex)
    folders = (scene.stack.data / "spool", scene.stack.data / "store")
    return [p for folder in folders for p in folder.rglob("*") if p.is_file() and any(name in str(p) for name in names)]


def _search(scene: Scene) -> int:
    """Looks for both speeches in everything that the run has on disk; returns the bytes read."""
    needles = Needles.of(scene.agent_speech, scene.carrier_speech)
    run = Folders(scene.stack.data).run
    found, size = needles.scan_folders([scene.stack.folder, run])
    for shared in Path("/dev/shm").glob("PostgreSQL.*"):
        found += needles.scan_file(shared)
    found += needles.scan_unlinked(scene.stack.children().values())
    if found:
        raise StepFailed(f"readable sound ({found[0].form}) at byte {found[0].offset} of {found[0].where}", found[0].where)
    return size


async def _call_in(scene: Scene, state: str) -> dict[str, Any]:
    """The newest call in that state, as the admin sees it; rows follow events by moments."""
    end = time.monotonic() + ROW_WITHIN_S
    while True:
        rows = (await scene.api.get(f"/v1/calls?state={state}"))["items"]
        if rows:
            newest: dict[str, Any] = rows[0]
            return newest
        if time.monotonic() > end:
            raise StepFailed(f"the admin sees no call that is {state}", "GET /v1/calls")
        await asyncio.sleep(0.05)


async def _closed_recording(scene: Scene) -> dict[str, Any]:
    """The one recording, once it is closed."""
    end = time.monotonic() + SEALED_WITHIN_S
    while True:
        items = (await scene.api.get("/v1/recordings"))["items"]
        if len(items) == 1 and items[0]["state"] in ("closed", "stored"):
            only: dict[str, Any] = items[0]
            return only
        if time.monotonic() > end:
            states = ", ".join(item["state"] for item in items) or "none"
            raise StepFailed(f"one closed recording was to be listed; found: {states}", "GET /v1/recordings")
        await asyncio.sleep(0.1)


async def _key_rows(scene: Scene, identity: UUID) -> int:
    """How many data keys of that recording stand in the keyring, asked as the owner of its tables."""
    config = configuration.load(scene.stack.config, {})
    databases = Databases(config, Folders(config.data.dir), account(config.run.user))
    connection = await asyncpg.connect(databases.keyring_dsn(roles.OWNER))
    try:
        if scene.org_id is not None:
            await connection.execute("SELECT set_config('hushwire.org', $1, false)", str(scene.org_id))
        return int(await connection.fetchval("SELECT count(*) FROM data_keys WHERE id = $1", identity))
    finally:
        await connection.close()


async def _looks(scene: Scene, sniffer: Sniffer | None, ports: dict[str, int], mine: int, theirs: int) -> dict[str, Look]:
    speech = {"agent": scene.agent_speech, "trunk": scene.carrier_speech}
    heard = {"agent": scene.carrier_speech, "trunk": scene.agent_speech}
    if sniffer is None:
        taps: dict[str, tuple[Party, int]] = {"agent": (scene.agent, mine), "trunk": (scene.carrier, theirs)}
        return {f"{name} leg, sent": look(await party.packets(number), speech[name]) for name, (party, number) in taps.items()}
    looks = {}
    for name, port in ports.items():
        looks[f"{name} leg, sent"] = look(sniffer.sent_from(port), speech[name])
        looks[f"{name} leg, received"] = look(sniffer.sent_to(port), heard[name])
    return looks


def _hears(scene: Scene, who: str, heard: Heard, other: NDArray[np.int16], own: NDArray[np.int16], other_began: float) -> Match:
    """How well `who` heard the other; the delay runs from the other's mouth to this ear."""
    match = _best(other, heard.samples)
    echo = correlate(own, heard.samples, RATE)
    scene.check(match.score >= SAME, f"{who} hears the other side by {match.score:.2f} only", "the two legs in GET /v1/calls/{id}")
    scene.check(echo.score < OTHER, f"{who} hears itself by {echo.score:.2f}", "the two legs in GET /v1/calls/{id}")
    return Match(match.score, match.delay_ms + 1000 * (heard.ear_began - other_began))


def _best(speech: NDArray[np.int16], heard: NDArray[np.int16]) -> Match:
    return correlate_with_slips(speech[: len(heard)], heard, RATE)


def _is_srtp(leg: dict[str, Any]) -> bool:
    return str(leg.get("media", "")).lower() == "srtp"


def _receipt_bytes(body: bytes, value: dict[str, Any]) -> bytes:
    inner = value.get("receipt")
    return orjson.dumps(inner) if isinstance(inner, dict) else body


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)
