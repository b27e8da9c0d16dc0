"""Texts the whole way: the API of a running hushwire, sealed rows, its `sms` process, and npm's `smpp` as message centre; and back."""

from collections import defaultdict
from typing import Any

import pytest

from tests.deployments import Deployment, start_deployment
from tests.interop.message_centre import MessageCentre, message_centre, need_centre, texting
from tests.polling import until

pytestmark = [pytest.mark.interop]
OURS, THEIRS = "+493023125000", "+4915112345678"
MORE = 'numbering = "udh8"\nlanguages = ["turkish"]'
TEXTS = {
    f"{THEIRS[:-1]}0": ("gsm7", 2, "Der Preis: {20 €} [heute] ~ \\ " * 6),
    f"{THEIRS[:-1]}1": ("gsm7-1-0", 2, "Işık ğüneşi şimdi, çağ İçin. " * 7),
    f"{THEIRS[:-1]}2": ("ucs2", 3, "Grüße 👋🐍 an 漢字, " * 10),
}
MARKER = "Marker of a secret meeting"


def joined(events: list[dict[str, Any]]) -> dict[str, str]:
    """The texts as the centre read them, each of its parts in their order, by number."""
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    for event in events:
        # Concatenation with an 8-bit reference: its identifier and length, the reference, how many, which (3GPP TS 23.040, 9.2.3.24.1).
        (concatenated,) = [element for element in map(bytes.fromhex, event["udh"]) if element[:2] == b"\0\3"]
        parts[f"+{event['to']}"][concatenated[4]] = event["text"]
    return {to: "".join(text for _, text in sorted(found.items())) for to, found in parts.items()}


async def received(running: Deployment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await running.api().get("/v1/messages?direction=inbound"))["items"]
    return found[::-1]


async def test_what_is_written_by_the_api_arrives_whole_at_the_centre_and_what_it_brings_is_read_by_the_api() -> None:
    need_centre()
    async with (
        message_centre(policy={"receipt": "text", "response_form": "HEX", "receipt_form": "hex"}) as smsc,
        start_deployment(provisioning=texting(smsc.port, OURS, MORE)) as running,
    ):
        await smsc.event("bind")
        await _out(running, smsc)
        await _in(running, smsc)
        log = running.stack.log.read_text(errors="replace")
        assert "message" in log
        assert not [word for word in (MARKER, OURS[1:], THEIRS[1:-1], "Preis", "Grüße") if word in log], "nothing personal is logged"


async def _out(running: Deployment, smsc: MessageCentre) -> None:
    api = running.api()
    for to, (encoding, parts, text) in TEXTS.items():
        preview = await api.post("/v1/messages/preview", {"to": to, "text": text})
        assert (preview["encoding"], preview["parts"]) == (encoding, parts)
        assert (await api.post("/v1/messages", {"to": to, "text": text}))["parts"] == parts
    count = sum(parts for _, parts, _ in TEXTS.values())
    await smsc.event("submit", count)
    assert joined(smsc.events("submit")) == {to: text for to, (_, _, text) in TEXTS.items()}

    async def are_delivered() -> bool:
        items = (await api.get("/v1/messages?direction=outbound"))["items"]
        return [item["state"] for item in items] == ["delivered"] * len(TEXTS)

    await until(are_delivered, timeout_s=30, what="all delivered")


async def _in(running: Deployment, smsc: MessageCentre) -> None:
    api, pdu = running.api(), {"source_addr": THEIRS[1:], "source_addr_ton": 1, "destination_addr": OURS[1:]}
    for place, half in ((2, "🐍 Straße"), (1, f"{MARKER} 👋")):
        sar = {"sar_msg_ref_num": 7, "sar_total_segments": 2, "sar_segment_seqnum": place}
        smsc.do("deliver", pdu=pdu | sar | {"data_coding": 8, "short_message": half})
    smsc.do("deliver", pdu=pdu | {"message_payload": MARKER * 10})
    await smsc.event("delivered", 3 + sum(parts for _, parts, _ in TEXTS.values()))

    async def are_there() -> bool:
        return len(await received(running)) == 2

    await until(are_there, timeout_s=20, what="both messages")
    messages = await received(running)
    assert {message["text"] for message in messages} == {f"{MARKER} 👋🐍 Straße", MARKER * 10}
    assert {(message["number"], message["own"]) for message in messages} == {(THEIRS, OURS)}
    before = len(smsc.events("submit"))
    smsc.do("deliver", pdu=pdu | {"short_message": "  Stop!! "})
    await smsc.event("submit", before + 1, timeout_s=30)
    assert smsc.events("submit")[before]["text"].startswith("Acme: you will get no more messages")
    refused = await api.ask("POST", "/v1/messages", {"to": THEIRS, "text": "x"})
    assert (refused.status, refused.json()["reason"]) == (403, "opted-out")
    marketed = {"destination": THEIRS, "channel": "invite", "telemarketing": True}
    assert (await api.post("/v1/voice-security/check", marketed))["reason"] == "do-not-call", "calls that are telemarketing obey"
    assert (await api.post("/v1/voice-security/check", marketed | {"telemarketing": False}))["verdict"] == "allow"
    proof = await api.ask("DELETE", f"/v1/messages/{messages[0]['id']}")
    assert (proof.status, "signature" in proof.body.decode()) == (200, True)
    assert (await api.ask("GET", f"/v1/messages/{messages[0]['id']}")).status == 410
