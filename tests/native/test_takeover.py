"""The controller's process is killed, or hangs, in the middle of a recorded call whose parties never stop: the next one takes over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.call import LOOPBACK, Keys, Party, parse, rtp
from tests.native.client import FENCED, Media, RequestError
from tests.native.hwr_reader import read
from tests.native.srtp_oracle import Oracle, oracle
from tests.native.test_recording import FORMAT

SUITE = "AES_CM_128_HMAC_SHA1_80"

# A controller of its own: opens a recorded call with one SRTP leg, tells us, and then asks once for each line that it is given.
CONTROLLER = """
import json, sys, uuid
from tests.native.client import Controller, RequestError
order = json.loads(sys.argv[1])
control = Controller(order["socket"], 1)
bridge, raw = uuid.UUID(order["bridge"]), bytes.fromhex
control.request("open_bridge", bridge=bridge, mode=0)
ports = [control.request("open_leg", bridge=bridge, leg=leg)["rtp_port"] for leg in (0, 1)]
keys = {"send_suite": 1, "send_key": raw(order["send"]), "recv_suite": 1, "recv_key": raw(order["recv"])}
for leg, more in ((0, keys), (1, {})):
    control.request("set_leg", bridge=bridge, leg=leg, remote_ip=raw("7f000001"), remote_port=order["ports"][leg], **more)
control.request("start_recording", bridge=bridge, org=bridge, recording=bridge, segment=0, data_key=raw(order["key"]),
                file="call.hwr", format=raw(order["format"]))
print(json.dumps(ports), flush=True)
for line in sys.stdin:
    try:
        control.request("stop_recording", bridge=bridge)
        print("obeyed", flush=True)
    except (RequestError, ConnectionError, OSError) as error:
        print(type(error).__name__, flush=True)
"""


class Stream(threading.Thread):
    """Both parties speak every 5 ms and listen, until told to stop; each packet's number is its payload."""

    def __init__(self, agent: Party, far: Party, tx: Oracle) -> None:
        super().__init__(daemon=True)
        self.agent, self.far, self.tx = agent, far, tx
        self.said = 0
        self.heard = 0
        self.is_over = threading.Event()
        self.changes = threading.Lock()

    def run(self) -> None:
        while not self.is_over.wait(0.005):
            with self.changes:
                n = self.said
                self.agent.send(self.tx.protect(rtp(n, 160 * n, 0xA, b"A%06d" % n)))
                assert parse(self.far.receive()).payload == b"A%06d" % n
                self.far.send(rtp(n, 160 * n, 0xB, b"B%06d" % n))
                self.agent.receive()
                self.said += 1

    def goes_on(self, count: int = 40) -> None:
        """Wait until so many more packets went each way."""
        wanted, pause = self.said + count, threading.Event()
        for _ in range(4_000):
            if self.said >= wanted:
                return
            pause.wait(0.005)
            assert self.is_alive(), "a party stopped hearing the other"
        raise AssertionError("the call does not go on")


@pytest.fixture
def parties() -> Iterator[tuple[Party, Party]]:
    agent, far = Party(), Party()
    yield agent, far
    agent.close()
    far.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
def test_the_next_controller_takes_over_and_not_one_packet_is_missing(
    media: Media, parties: tuple[Party, Party], how: signal.Signals
) -> None:
    agent, far = parties
    keys, bridge, data_key = Keys(SUITE), uuid.uuid4(), os.urandom(32)
    order = {
        "socket": media.socket, "bridge": str(bridge), "send": keys.send.hex(), "recv": keys.recv.hex(), "key": data_key.hex(),
        "ports": [agent.port, far.port], "format": FORMAT.hex(),
    }  # fmt: skip
    first = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, json.dumps(order)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert first.stdin is not None
    assert first.stdout is not None
    stream = Stream(agent, far, oracle(SUITE, keys.recv, is_sender=True))
    try:
        agent.to, far.to = (("127.0.0.1", port) for port in json.loads(first.stdout.readline()))
        stream.start()
        stream.goes_on()
        first.send_signal(how)
        if how is signal.SIGKILL:
            first.wait()
        stream.goes_on()  # with nobody in control
        with media.controller(2) as second:
            (entry,) = second.request("list_bridges")["bridge_entry"]  # type: ignore[misc]
            assert (entry["bridge"], entry["recording"], entry["recording_state"]) == (bridge.bytes, bridge.bytes, 0)
            sources = [second.event("leg_source") for _ in range(2)]  # nobody acknowledged them
            second.request("ack", event=[event.id for event in sources])
            found = second.request("get_bridge", bridge=bridge)
            assert {leg["leg"]: leg["source_port"] for leg in found["leg_state"]} == {0: agent.port, 1: far.port}  # type: ignore[attr-defined]
            stream.goes_on()
            fresh = Keys(SUITE)  # its keys are lost: a re-INVITE brings new ones, while the parties speak on
            with stream.changes:
                second.request("set_leg", bridge=bridge, leg=0, remote_ip=LOOPBACK, remote_port=agent.port, **fresh.fields())
                second.request("set_leg", bridge=bridge, leg=1, remote_ip=LOOPBACK, remote_port=far.port)
            stream.goes_on()  # under the old key, which is taken for two seconds
            with stream.changes:
                stream.tx = oracle(SUITE, fresh.recv, is_sender=True)
            stream.goes_on()
            if how is signal.SIGSTOP:
                first.send_signal(signal.SIGCONT)
                print("stop it", file=first.stdin, flush=True)
                assert first.stdout.readline().strip() in ("ConnectionError", "ConnectionResetError", "BrokenPipeError")
                with media.controller(None) as again, pytest.raises(RequestError) as fenced:
                    again.request("hello", epoch=1)
                assert fenced.value.status == FENCED
                stream.goes_on()
            stream.is_over.set()
            stream.join()
            result = second.request("stop_recording", bridge=bridge)["recording_result"]
            assert (result["recording_state"], result["gaps"]) == (2, 0)  # type: ignore[index]
    finally:
        stream.is_over.set()
        first.kill()
        first.wait()
        first.stdin.close()
        first.stdout.close()
    file = read((media.spool / "call.hwr").read_bytes(), data_key)
    assert file.is_final
    for leg, letter in ((0, b"A"), (1, b"B")):
        said = [entry.data[12:] for entry in file.entries if entry.kind == "packet" and entry.leg == leg]
        assert said == [b"%s%06d" % (letter, n) for n in range(stream.said)], "every packet, once, in order"
