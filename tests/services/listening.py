"""Ears for peers of a gateway under test: what a party is sent, decoded, and the pitch of it."""

import asyncio
import socket
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from hushwire.recording.decoders import decoder
from hushwire.sdp.offer_answer import LegMedia
from tests.native.call import Rtp, parse, rtp
from tests.native.srtp_oracle import Oracle, oracle
from tests.polling import until


class Ear:
    """One party's media: what it gets is kept, plain; it can speak too."""

    open: ClassVar[list["Ear"]] = []

    def __init__(self) -> None:
        self.open.append(self)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.packets: list[Rtp] = []
        self.to = ("127.0.0.1", 0)
        self._unprotect: Oracle | None = None
        self._protect: Oracle | None = None
        self._sent = 0
        self._ssrc = 0xABCD_0000 + self.port
        asyncio.get_running_loop().add_reader(self.sock, self._read)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    def agree(self, media: LegMedia) -> None:
        """What offer and answer said: where to send, and the keys."""
        self.to = (media.address, media.port)
        if media.recv_crypto is not None and media.send_crypto is not None:
            self._unprotect = oracle(media.recv_crypto.suite.name, media.recv_crypto.key, is_sender=False)
            self._protect = oracle(media.send_crypto.suite.name, media.send_crypto.key, is_sender=True)

    def speak(self, payload: bytes, count: int = 1) -> None:
        for _ in range(count):
            packet = rtp(self._sent, 160 * self._sent, self._ssrc, payload)
            self._sent += 1
            self.sock.sendto(packet if self._protect is None else self._protect.protect(packet), self.to)

    def key(self, digits: str, payload_type: int = 101) -> None:
        """Key digits as telephone-events (RFC 4733): each 100 ms long, its end said three times."""
        for digit in digits:
            event, at = "0123456789*#".index(digit), 160 * self._sent
            for duration, is_end in ((160, 0), (480, 0), (800, 128), (800, 128), (800, 128)):
                payload = bytes((event, is_end | 10)) + duration.to_bytes(2, "big")
                packet = rtp(self._sent, at, self._ssrc, payload, pt=payload_type)
                self._sent += 1
                self.sock.sendto(packet if self._protect is None else self._protect.protect(packet), self.to)
            self._sent += 10

    @classmethod
    def close_all(cls) -> None:
        while cls.open:
            ear = cls.open.pop()
            asyncio.get_running_loop().remove_reader(ear.sock)
            ear.sock.close()

    def _read(self) -> None:
        while True:
            try:
                packet = self.sock.recv(4096)
            except BlockingIOError:
                return
            if packet[1] & 0x7F in range(64, 96):
                continue  # RTCP
            self.packets.append(parse(packet if self._unprotect is None else self._unprotect.unprotect(packet)))

    async def hears(self, hertz: float, packets: int = 15, timeout_s: float = 10.0, codec: str = "PCMU") -> None:
        """Return once the last packets that came sound as this tone."""

        def is_so() -> bool:
            heard = self.packets[-packets:]
            return len(heard) == packets and abs(pitch([packet.payload for packet in heard], codec) - hertz) < 15

        await until(is_so, timeout_s=timeout_s, what=f"a tone of {hertz} Hz")

    def pitches(self, window: int = 10) -> list[float]:
        """The pitch of each run of so many packets."""
        return [pitch([p.payload for p in self.packets[at : at + window]]) for at in range(0, len(self.packets) - window + 1, window)]


def pitch(payloads: Sequence[bytes], codec: str = "PCMU") -> float:
    """The loudest frequency of payloads, Hz; 0 for silence."""
    made = decoder(codec)
    assert made is not None
    samples = np.concatenate([made.decode(payload) for payload in payloads]).astype(float)
    if np.max(np.abs(samples)) < 50:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8000))
    return float(np.argmax(spectrum))


def tone_file(path: Path, hertz: float, seconds: float) -> Path:
    """A WAV file that holds one tone."""
    at = np.arange(int(16_000 * seconds)) / 16_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((12_000 * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes())
    path.chmod(0o644)
    return path
