"""The codecs of a leg, from SDP's words to the bytes of the control protocol."""

from hushwire.media.formats import CodecName, LegCodec, leg_codecs


def test_opus_says_what_its_fmtp_wishes_and_the_others_are_as_they_are() -> None:
    agreed = [
        (111, "opus", 48_000, "minptime=10; UseInbandFEC=1;usedtx=1"),
        (0, "PCMU", 8_000, "useinbandfec=1"),
        (101, "telephone-event", 8_000, "0-16"),
    ]
    assert leg_codecs(agreed, 20) == (
        LegCodec(CodecName.OPUS, 111, 48_000, wants_fec=True, may_pause=True),
        LegCodec(CodecName.PCMU, 0),
        LegCodec(CodecName.TELEPHONE_EVENT, 101),
    )


def test_what_the_media_process_would_refuse_is_left_out() -> None:
    agreed = [
        (0, "PCMU", 8_000, None),
        (0, "PCMA", 8_000, None),
        (8, "PCMA", 16_000, None),
        (96, "iLBC", 8_000, None),
        (97, "opus", 8_000, None),
    ]
    assert leg_codecs(agreed, 5) == (LegCodec(CodecName.PCMU, 0, ptime_ms=10),)
    assert len(leg_codecs([(n, "PCMU", 8_000, None) for n in range(40)], 20)) == 16


def test_the_field_is_eight_bytes_as_the_protocol_says() -> None:
    codec = LegCodec(CodecName.OPUS, 111, 48_000, 60, wants_fec=True)
    assert codec.to_bytes() == bytes([111, 4, 60, 1]) + (48_000).to_bytes(4, "big")
