"""A PJSUA2 softphone in a process of its own, driven by JSON lines: `python -m hushwire.app.demo.softphone`.

Each line on standard input is a command `{"id": 1, "do": "call", ...}`; each line on standard output is either its answer
`{"id": 1, "ok": true, ...}` or an event `{"event": "state", ...}`. What it plays and what it hears stay in memory: no audio file is
read or written. PJSUA2's wheel holds four calls per process, and is GPL: nothing else of hushwire imports it.
"""

import base64
import os
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
import pjsua2 as pj

from hushwire.app.demo.sockettap import SocketTap

FRAME_MS: Final = 20
MAX_CALLS: Final = 4
SOCKETS_KEPT_S: Final = 0.6
"""How long PJSIP keeps the places of a call's two sockets after its end: half a second, and what a look at them takes."""
MOST_ENDED: Final = 20
"""So many calls may have ended within that time: its select has 64 places, and aborts the process where none is left."""
LEAVE_WITHIN_S: Final = 2.0
STATES: Final = {
    pj.PJSIP_INV_STATE_CALLING: "calling",
    pj.PJSIP_INV_STATE_INCOMING: "incoming",
    pj.PJSIP_INV_STATE_EARLY: "early",
    pj.PJSIP_INV_STATE_CONNECTING: "connecting",
    pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
    pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
}
TRANSPORTS: Final = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
SRTP: Final = {"off": pj.PJMEDIA_SRTP_DISABLED, "optional": pj.PJMEDIA_SRTP_OPTIONAL, "mandatory": pj.PJMEDIA_SRTP_MANDATORY}


class Mouth(pj.AudioMediaPort):  # type: ignore[misc]
    """Plays PCM from memory in a circle, from its start at the moment it is made."""

    def __init__(self, pcm: bytes, rate: int) -> None:
        super().__init__()
        self._frame_bytes = rate * FRAME_MS // 1000 * 2
        whole = len(pcm) // self._frame_bytes * self._frame_bytes
        self._pcm = pcm[:whole] or bytes(self._frame_bytes)
        self._at = 0
        self.began: float | None = None
        self.createPort("mouth", _pcm_format(rate))

    def onFrameRequested(self, frame: Any) -> None:
        if self.began is None:
            self.began = time.monotonic()
        piece = self._pcm[self._at : self._at + self._frame_bytes]
        self._at = (self._at + self._frame_bytes) % len(self._pcm)
        frame.type = pj.PJMEDIA_FRAME_TYPE_AUDIO
        frame.buf = pj.ByteVector(piece)
        frame.size = len(piece)


class Ear(pj.AudioMediaPort):  # type: ignore[misc]
    """Keeps what the call's decoder gives, in memory."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._silence = bytes(rate * FRAME_MS // 1000 * 2)
        self.heard = bytearray()
        self.began: float | None = None
        self.createPort("ear", _pcm_format(rate))

    def onFrameReceived(self, frame: Any) -> None:
        if self.began is None:
            self.began = time.monotonic()
        self.heard += bytes(frame.buf) if frame.size else self._silence


class PhoneCall(pj.Call):  # type: ignore[misc]
    """One call: its audio both ways, what its session descriptions said, and its events."""

    def __init__(self, account: "PhoneAccount", call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self.phone = account.phone
        self.number = self.phone.next_call_number()
        self.mouth: Mouth | None = None
        self.ear: Ear | None = None
        self.tap: SocketTap | None = None
        self.profile = ""
        self.rtp_port = 0
        self.last_status = 0
        self.statistics: dict[str, Any] = {}
        self._mouth_began: float | None = None

    def onCallState(self, prm: Any) -> None:
        info = self.getInfo()
        self.last_status = int(info.lastStatusCode)
        state = STATES.get(info.state, "null")
        if state == "disconnected":
            self.silence()
        self.phone.say(
            {
                "event": "state",
                "call": self.number,
                "state": state,
                "status": self.last_status,
                "reason": info.lastReason,
                "seconds": info.connectDuration.sec + info.connectDuration.msec / 1000,
            }
        )
        if state == "disconnected":
            self.phone.forget(self)

    def onCallSdpCreated(self, prm: Any) -> None:
        # PJSUA2 offers plain RTP without a word where it lacks the asked keying: what the SDP says is what counts.
        for line in prm.sdp.wholeSdp.splitlines():
            if line.startswith("m=audio"):
                self.profile = line.split()[2]

    def onCallMediaState(self, prm: Any) -> None:
        info = self.getInfo()
        active = False
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                self._connect(self.getAudioMedia(index))
                active = active or media.status == pj.PJSUA_CALL_MEDIA_ACTIVE
            self.phone.say({"event": "media", "call": self.number, "status": int(media.status), **self._stream(index)})
        if active:
            self.rtp_port = int(self.getMedTransportInfo(0).localRtpName.rsplit(":", 1)[1])
            if self.phone.watching and self.tap is None:
                self.tap = SocketTap.on_local_port(self.rtp_port)

    def onDtmfDigit(self, prm: Any) -> None:
        self.phone.say({"event": "dtmf", "call": self.number, "digit": prm.digit})

    def onCallTransferStatus(self, prm: Any) -> None:
        if prm.finalNotify:
            self.phone.say({"event": "transferred", "call": self.number, "status": int(prm.statusCode)})

    def onStreamDestroyed(self, prm: Any) -> None:
        self.statistics = self._statistics() or self.statistics

    def _connect(self, audio: Any) -> None:
        if self.ear is None:
            self.ear = Ear(self.phone.rate)
            self.mouth = Mouth(self.phone.pcm, self.phone.rate)
        assert self.mouth is not None
        self.mouth.startTransmit(audio)
        audio.startTransmit(self.ear)

    def _stream(self, index: int) -> dict[str, Any]:
        try:
            stream = self.getStreamInfo(index)
        except pj.Error:
            return {}
        secure = stream.proto & pj.PJMEDIA_TP_PROFILE_SRTP == pj.PJMEDIA_TP_PROFILE_SRTP
        return {"codec": stream.codecName, "srtp": bool(secure), "profile": self.profile, "direction": int(stream.dir)}

    def _statistics(self) -> dict[str, Any]:
        try:
            rtcp = self.getStreamStat(0).rtcp
        except pj.Error:
            return {}
        return {"round_trip_us": int(rtcp.rttUsec.mean)} | {
            side: {"packets": int(stat.pkt), "lost": int(stat.loss), "discarded": int(stat.discard), "jitter_us": int(stat.jitterUsec.mean)}
            for side, stat in (("sent", rtcp.txStat), ("received", rtcp.rxStat))
        }

    def read_statistics(self) -> dict[str, Any]:
        """Packet counts of both directions, also after the end of the call."""
        return self._statistics() or self.statistics

    @property
    def mouth_began(self) -> float | None:
        """Monotonic second at which our speech began."""
        return self.mouth.began if self.mouth is not None else self._mouth_began

    def silence(self) -> None:
        """Stops speaking and watching; what was heard stays."""
        self._mouth_began = self.mouth_began
        if self.tap is not None:
            self.tap.close()
        self.mouth = None


class PhoneAccount(pj.Account):  # type: ignore[misc]
    """The phone's identity; incoming calls are met by the phone's answer policy."""

    def __init__(self, phone: "Phone") -> None:
        super().__init__()
        self.phone = phone

    def onRegState(self, prm: Any) -> None:
        self.phone.registration(int(prm.code), int(prm.expiration), prm.reason)

    def onIncomingCall(self, prm: Any) -> None:
        call = PhoneCall(self, prm.callId)
        self.phone.incoming(call)


class Phone:
    """The process: one endpoint, one account, up to four calls. `run` returns when told to quit or when its parent is gone."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer
        self._endpoint = pj.Endpoint()
        self._account: PhoneAccount | None = None
        self._calls: dict[int, PhoneCall] = {}
        self._ended: dict[int, PhoneCall] = {}
        self._policy: dict[str, Any] = {"status": 200, "ring_s": 0.0}
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._count = 0
        self._endings: deque[float] = deque(maxlen=MOST_ENDED)
        self._running = True
        self._registered = False
        self._leaving = False
        self.rate = 8000
        self.pcm = b""
        self.watching = False

    def say(self, message: dict[str, Any]) -> None:
        data = orjson.dumps(message) + b"\n"
        # Nobody listens any more when our parent has ended.
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._writer, data) :]

    def next_call_number(self) -> int:
        self._count += 1
        return self._count

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._reader, selectors.EVENT_READ)
        pending = b""
        self._endpoint.libCreate()
        try:
            while self._running:
                if selector.select(0):
                    data = os.read(self._reader, 1 << 20)
                    if not data:
                        break
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self._obey(orjson.loads(line))
                self._run_due()
                self._endpoint.libHandleEvents(5)
        finally:
            self._close()

    def _close(self) -> None:
        """Says BYE and takes the registration back, for at most two seconds, then ends without PJSUA2's own slow farewell."""
        self._leaving = True
        self._endpoint.hangupAllCalls()
        if self._account is not None and self._registered:
            self._account.setRegistration(False)
        end = time.monotonic() + LEAVE_WITHIN_S
        while (self._registered or self._calls) and time.monotonic() < end:
            self._endpoint.libHandleEvents(5)
        # PJSUA2 crashes when its objects outlive the library.
        for call in [*self._calls.values(), *self._ended.values()]:
            call.silence()
            call.ear = None
        self._ended.clear()
        self._calls.clear()
        if self._account is not None:
            self._account.shutdown()
            self._account = None
        self._endpoint.libDestroy(pj.PJSUA_DESTROY_NO_NETWORK)

    def registration(self, status: int, expires_s: int, reason: str) -> None:
        """The registrar's answer."""
        self._registered = status == 200 and expires_s > 0 and not self._leaving
        self.say({"event": "registration", "status": status, "expires_s": expires_s, "reason": reason})

    def _run_due(self) -> None:
        now = time.monotonic()
        ready = [act for at, act in self._due if at <= now]
        self._due = [(at, act) for at, act in self._due if at > now]
        for act in ready:
            act()

    def _obey(self, command: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": command["id"], "ok": True}
        try:
            act = getattr(self, f"do_{command['do']}", None)
            if act is None:
                raise ValueError("unknown command")
            answer.update(act(command) or {})
        except (pj.Error, LookupError, ValueError, OSError) as error:
            text = error.info() if isinstance(error, pj.Error) else str(error)
            answer = {"id": command["id"], "ok": False, "error": f"{type(error).__name__}: {text}"}
        self.say(answer)

    # Commands.

    def do_open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Starts the endpoint: transport udp|tcp|tls, bind address, port, codecs, speech (base64 of 16-bit PCM), rate.

        TLS: `ca` is whom it trusts; `certificate` and `key` are what it shows to who calls it.
        """
        self.rate = int(command.get("rate", 8000))
        self.pcm = base64.b64decode(command.get("speech", ""))
        self.watching = bool(command.get("watch", False))
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.maxCalls = MAX_CALLS
        config.uaConfig.userAgent = command.get("user_agent", "hushwire-demo")
        config.logConfig.level = config.logConfig.consoleLevel = int(command.get("log_level", 0))
        media = config.medConfig
        media.clockRate = media.sndClockRate = self.rate
        media.noVad = True
        media.ecTailLen = 0
        media.jbInit = media.jbMinPre = media.jbMaxPre = int(command.get("jitter_ms", 60))
        media.jbMax = 500
        media.quality = 10
        _keep_what_was_saved_up(media)
        self._endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.boundAddress = command.get("bind", "127.0.0.1")
        transport.port = int(command.get("port", 0))
        kind = command.get("transport", "udp")
        if kind == "tls":
            transport.tlsConfig.CaListFile = command["ca"]
            transport.tlsConfig.certFile = command.get("certificate", "")
            transport.tlsConfig.privKeyFile = command.get("key", "")
            transport.tlsConfig.verifyServer = True
            transport.tlsConfig.method = pj.PJSIP_TLSV1_2_METHOD
        number = self._endpoint.transportCreate(TRANSPORTS[kind], transport)
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNullDev()
        wanted = list(command.get("codecs", ["PCMU/8000", "PCMA/8000"]))
        for codec in self._endpoint.codecEnum2():
            name = codec.codecId
            place = next((i for i, w in enumerate(wanted) if name.startswith(w)), None)
            self._endpoint.codecSetPriority(name, 0 if place is None else 255 - place)
        return {"address": self._endpoint.transportGetInfo(number).localAddress}

    def do_account(self, command: dict[str, Any]) -> None:
        """Sets who we are: uri, registrar, proxy, username, password; registers when a registrar is given.

        `srtp` off|optional|mandatory; `rtcp_mux` asks for RTCP on the port of RTP; `public` is the address that its SDP announces;
        `outbound`: it names its instance and its flow (RFC 5626) over TCP and TLS.
        """
        config = pj.AccountConfig()
        config.idUri = command["uri"]
        if command.get("registrar"):
            config.regConfig.registrarUri = command["registrar"]
            config.regConfig.timeoutSec = int(command.get("expires_s", 300))
            config.regConfig.retryIntervalSec = int(command.get("retry_s", 0))
        if command.get("proxy"):
            config.sipConfig.proxies.append(command["proxy"])
        if command.get("username"):
            config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", command["username"], 0, command["password"]))
        bind = command.get("bind", "127.0.0.1")
        config.mediaConfig.transportConfig.boundAddress = bind
        config.mediaConfig.transportConfig.publicAddress = command.get("public", "")
        config.mediaConfig.srtpUse = SRTP[command.get("srtp", "off")]
        config.mediaConfig.srtpSecureSignaling = 0
        config.mediaConfig.rtcpMuxEnabled = bool(command.get("rtcp_mux", False))
        if command.get("srtp_suites"):
            for name in command["srtp_suites"]:
                crypto = pj.SrtpCrypto()
                crypto.name = name
                config.mediaConfig.srtpOpt.cryptos.append(crypto)
        config.natConfig.iceEnabled = False
        config.natConfig.sipOutboundUse = int(bool(command.get("outbound", False)))
        self._account = PhoneAccount(self)
        self._account.create(config)

    def do_register(self, command: dict[str, Any]) -> None:
        assert self._account is not None
        self._account.setRegistration(bool(command.get("renew", True)))

    def do_policy(self, command: dict[str, Any]) -> None:
        """Sets how incoming calls are met: `status` (0 = never answer), `ring_s` before it, `early` = 183 with our speech at once."""
        self._policy = command

    def do_call(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._account is not None
        if len(self._calls) >= MAX_CALLS:
            raise ValueError("four calls at most")
        self._wait_for_sockets()
        call = PhoneCall(self._account)
        param = pj.CallOpParam(True)
        for name, value in command.get("headers", {}).items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            param.txOption.headers.append(header)
        call.makeCall(command["to"], param)
        self._calls[call.number] = call
        return {"call": call.number}

    def do_answer(self, command: dict[str, Any]) -> None:
        self._answer(self._calls[command["call"]], int(command.get("status", 200)))

    def do_hangup(self, command: dict[str, Any]) -> None:
        param = pj.CallOpParam()
        param.statusCode = int(command.get("status", 0))
        self._calls[command["call"]].hangup(param)

    def do_hold(self, command: dict[str, Any]) -> None:
        self._calls[command["call"]].setHold(pj.CallOpParam())

    def do_resume(self, command: dict[str, Any]) -> None:
        param = pj.CallOpParam(True)
        param.opt.flag = pj.PJSUA_CALL_UNHOLD
        self._calls[command["call"]].reinvite(param)

    def do_dtmf(self, command: dict[str, Any]) -> None:
        if command.get("method") == "info":
            param = pj.CallSendDtmfParam()
            param.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
            param.duration = int(command.get("duration_ms", 160))
            param.digits = command["digits"]
            self._calls[command["call"]].sendDtmf(param)
        else:
            self._calls[command["call"]].dialDtmf(command["digits"])

    def do_transfer(self, command: dict[str, Any]) -> None:
        """Refers the other party to `to`, or to the party of the call `replaces`."""
        if "replaces" in command:
            self._calls[command["call"]].xferReplaces(self._calls[command["replaces"]], pj.CallOpParam())
        else:
            self._calls[command["call"]].xfer(command["to"], pj.CallOpParam())

    def do_stats(self, command: dict[str, Any]) -> dict[str, Any]:
        call = self._find(command["call"])
        return {"stats": call.read_statistics(), "profile": call.profile, "rtp_port": call.rtp_port, "status": call.last_status}

    def do_heard(self, command: dict[str, Any]) -> dict[str, Any]:
        """What the decoder gave so far (base64 of 16-bit PCM), and the monotonic seconds at which hearing and speaking began."""
        call = self._find(command["call"])
        heard = bytes(call.ear.heard) if call.ear else b""
        return {
            "pcm": base64.b64encode(heard).decode(),
            "rate": self.rate,
            "ear_began": call.ear.began if call.ear else None,
            "mouth_began": call.mouth_began,
        }

    def do_packets(self, command: dict[str, Any]) -> dict[str, Any]:
        """The RTP packets that left this call's socket, as the kernel handed them to the network (only with `watch` at open)."""
        tap = self._find(command["call"]).tap
        return {"packets": [base64.b64encode(p).decode() for p in tap.packets()] if tap else []}

    def do_quit(self, command: dict[str, Any]) -> None:
        self._running = False

    # Calls.

    def incoming(self, call: PhoneCall) -> None:
        self._calls[call.number] = call
        info = call.getInfo()
        self.say({"event": "incoming", "call": call.number, "from": info.remoteUri, "to": info.localUri})
        status, ring_s = int(self._policy.get("status", 200)), float(self._policy.get("ring_s", 0.0))
        if self._policy.get("early"):
            self._answer(call, 183)
        elif ring_s > 0 or status == 0:
            self._answer(call, 180)
        if status:
            # Answered late where the calls before it came fast, so that the next one finds sockets.
            at = max(time.monotonic() + ring_s, self._sockets_back_at())
            self._due.append((at, lambda: self._answer_if_ringing(call, status)))

    def _answer_if_ringing(self, call: PhoneCall, status: int) -> None:
        if call.number in self._calls:
            self._answer(call, status)

    def _answer(self, call: PhoneCall, status: int) -> None:
        param = pj.CallOpParam(True)
        param.statusCode = status
        call.answer(param)

    def forget(self, call: PhoneCall) -> None:
        if self._calls.pop(call.number, None) is not None:
            self._ended[call.number] = call
        self._endings.append(time.monotonic())

    def _wait_for_sockets(self) -> None:
        """Goes on with what is under way until the calls that ended last have given their sockets back."""
        while time.monotonic() < self._sockets_back_at():
            self._endpoint.libHandleEvents(5)

    def _sockets_back_at(self) -> float:
        return self._endings[0] + SOCKETS_KEPT_S if len(self._endings) == MOST_ENDED else 0.0

    def _find(self, number: int) -> PhoneCall:
        return self._calls.get(number) or self._ended[number]


def _pcm_format(rate: int) -> Any:
    form = pj.MediaFormatAudio()
    form.init(pj.PJMEDIA_FORMAT_PCM, rate, 1, FRAME_MS * 1000, 16)
    return form


def _keep_what_was_saved_up(media: Any) -> None:
    """Let the jitter buffer discard nothing: PJSUA2 would shorten its delay bit by bit, which blurs the comparison of sound.

    The binding gives `jbDiscardAlgo` no usable type; the configuration's own JSON form does (0: PJMEDIA_JB_DISCARD_NONE).
    """
    written = pj.JsonDocument()
    media.writeObject(written.getRootContainer())
    text = orjson.loads(written.saveString())
    text["MediaConfig"]["jbDiscardAlgo"] = 0
    read = pj.JsonDocument()
    read.loadString(orjson.dumps(text).decode())
    media.readObject(read.getRootContainer())


def _hurry() -> None:
    """Goes before other work where we may: a telephone that speaks late loses packets on a busy machine."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with suppress(OSError):
        os.nice(-10)
    # Linux may schedule whole sessions (sched(7), autogroup): then the session's own niceness counts.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("-10")


def main() -> None:
    _hurry()
    # PJSUA2 prints to standard output: the answers get a descriptor of their own.
    writer = os.dup(1)
    os.dup2(2, 1)
    Phone(0, writer).run()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
