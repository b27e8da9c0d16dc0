"""`python -m hushwire.media.unknown_sound SECONDS`: a file that somebody sent, on standard input, to Opus packets on standard output.

What decodes strangers' files holds no key, no socket and no file, and may use little of the machine: it is a process of its own that
ends with the one file. Exit 0: the packets, each behind its length (media/sounds.py). Exit 3: what is wrong with the file, in one sentence.
"""

import io
import resource
import struct
import sys
from typing import Final

MEMORY_BYTES: Final = 2 << 30
CPU_S: Final = 30
QUIETEST: Final = 0.001
"""Of a sound that is one: -60 dBFS, at its loudest."""
UNUSABLE: Final = 3
_SMALLEST: Final = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 356, b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 320) + bytes(320)
"""A WAV file of 20 ms."""


def main() -> int:
    """Decode, level and encode."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_AS: MEMORY_BYTES,
    }
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))
    from hushwire.media import encoding
    from hushwire.media.sounds import SoundCodec

    # What is imported when it is first needed is needed now: no file can be opened any more, whatever a decoder is talked into.
    encoding.encode(encoding.levelled(encoding.read("a sound", io.BytesIO(_SMALLEST))), SoundCodec.OPUS)
    # Nor can anything be begun beside it, which would outlive the file.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        samples = encoding.read("the file", io.BytesIO(sys.stdin.buffer.read()), most_s=int(sys.argv[1]))
        if not len(samples) or abs(samples).max() < QUIETEST:
            raise encoding.UnusableSound("the file: holds nothing but silence")
        sys.stdout.buffer.write(encoding.encode(encoding.levelled(samples), SoundCodec.OPUS).data)
    except encoding.UnusableSound as error:
        sys.stderr.write(str(error))
        return UNUSABLE
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
