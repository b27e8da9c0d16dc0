"""No key outlives its use: the whole memory of the running program is searched for the keys, as root, before and after."""

from __future__ import annotations

import hmac
import os
import time

import pytest

from tests.native.call import Call, Keys, rtp
from tests.native.client import Controller, Media
from tests.native.srtp_oracle import Written, oracle
from tests.native.test_recording import Recorded

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the program's memory is closed to all but root")


@pytest.fixture(autouse=True)
def _plain_build(is_sanitized: bool) -> None:
    if is_sanitized:
        pytest.skip("sanitizers keep freed memory for their reports")


def memory(pid: int) -> bytes:
    """All that the process could write to: heap, stacks, and everything mapped."""
    out = bytearray()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw") or "[vvar" in line:
                continue
            begin, end = (int(x, 16) for x in span.split("-"))
            mem.seek(begin)
            while begin < end:
                piece = mem.read(min(end - begin, 1 << 24))
                assert piece
                out += piece
                begin += len(piece)
    return bytes(out)


def found(media: Media, secrets: dict[str, bytes]) -> set[str]:
    image = memory(media.process.pid)
    return {name for name, secret in secrets.items() if secret in image}


def gone(media: Media, secrets: dict[str, bytes], timeout_s: float = 5) -> None:
    """Waits until none of them is left: a thread may still be on its way out of what a reply told of."""
    until = time.monotonic() + timeout_s
    while left := found(media, secrets):
        assert time.monotonic() < until, left
        time.sleep(0.02)


def srtp_secrets(keys: Keys, leg: int) -> dict[str, bytes]:
    """Master keys and all that is derived from them, each direction (RFC 3711 section 4.3)."""
    secrets = {}
    for way, master in (("send", keys.send), ("recv", keys.recv)):
        secrets[f"{leg} {way} master"] = master[:-14]
        secrets[f"{leg} {way} salt"] = master[-14:]
        for name, (encryption, authentication, _) in zip(("rtp", "rtcp"), Written(master).keys, strict=True):
            secrets[f"{leg} {way} {name} encryption"] = encryption
            secrets[f"{leg} {way} {name} authentication"] = authentication
    return secrets


def recording_secrets(recorded: Recorded) -> dict[str, bytes]:
    context = b"HWR1\x02\x01" + (76).to_bytes(2, "big") + recorded.org.bytes + recorded.id.bytes + bytes(4)
    return {"data key": recorded.key, "frame key": hmac.digest(recorded.key, b"hushwire/hwr/1/frame" + context, "sha256")}


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80"])
def test_after_a_call_no_key_of_it_is_left_anywhere_in_memory(media: Media, control: Controller, suite: str) -> None:
    keys = (Keys(suite), Keys(suite))
    call = Call(control, keys=keys)
    recorded = Recorded(call)
    tx = [oracle(suite, k.recv, is_sender=True) for k in keys]
    for n in range(20):
        call.a.send(tx[0].protect(rtp(n, 160 * n, 1)))
        call.b.receive()
        call.b.send(tx[1].protect(rtp(n, 160 * n, 2)))
        call.a.receive()
    srtp = srtp_secrets(keys[0], 0) | srtp_secrets(keys[1], 1)
    recording = recording_secrets(recorded)
    live = found(media, srtp | recording)
    assert {"frame key", "0 send rtp encryption", "1 recv rtp encryption"} <= live  # the search does find what is there
    gone(media, {"data key": recorded.key})  # the frame key is made of it at once

    recorded.stop()
    gone(media, recording)
    call.close()
    gone(media, srtp)


def test_a_key_that_was_replaced_is_gone_after_its_two_seconds(media: Media, control: Controller) -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    old, new = Keys(suite), Keys(suite)
    call = Call(control, keys=(old, None))
    call.a.send(oracle(suite, old.recv, is_sender=True).protect(rtp(1, 160, 1)))
    call.b.receive()
    assert found(media, srtp_secrets(old, 0))
    call.keys = (new, None)
    call.set_leg(0)
    gone(media, srtp_secrets(old, 0), timeout_s=10)
    assert "0 recv rtp encryption" in found(media, srtp_secrets(new, 0))


def test_keys_of_refused_requests_and_of_ended_connections_are_not_kept_either(media: Media, control: Controller) -> None:
    call = Call(control)
    key = os.urandom(32)
    for _ in range(3):
        with media.controller(None) as other:
            other.send("set_leg", bridge=call.id, leg=0, remote_ip=b"\x7f\0\0\1", remote_port=9, send_suite=1, send_key=key)
            other.read()
            other.sock.sendall((600).to_bytes(4, "big") + key * 2)  # torn: the rest never comes
    control.request("ping")
    gone(media, {"key": key})
