"""Session descriptions: read as phones write them, written as RFC 8866 says."""

import pytest

from hushwire.sdp.session import MAX_BYTES, SdpError, parse_session

# RFC 8866 section 5
EXAMPLE = (
    b"v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call to John Smith\r\ni=SDP Offer #1\r\n"
    b"u=http://www.jdoe.example.com/home.html\r\ne=Jane Doe <jane@jdoe.example.com>\r\np=+1 617 555-6011\r\n"
    b"c=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\nm=audio 49180 RTP/AVP 0\r\nm=video 51372 RTP/AVP 99\r\n"
    b"c=IN IP6 2001:db8::2\r\na=rtpmap:99 h263-1998/90000\r\n"
)


def test_the_example_of_rfc_8866_section_5() -> None:
    session = parse_session(EXAMPLE)
    assert (session.session_id, session.version, session.origin_address) == (3724394400, 3724394405, "198.51.100.1")
    assert [(media.kind, media.port, media.protocol, media.formats) for media in session.media] == [
        ("audio", 49170, "RTP/AVP", ("0",)),
        ("audio", 49180, "RTP/AVP", ("0",)),
        ("video", 51372, "RTP/AVP", ("99",)),
    ]
    assert [session.address_of(media) for media in session.media] == ["198.51.100.1", "198.51.100.1", "2001:db8::2"]
    assert session.media[2].first("rtpmap") == "99 h263-1998/90000"


def test_what_is_written_reads_the_same() -> None:
    session = parse_session(EXAMPLE)
    assert parse_session(session.to_bytes()) == session
    assert b"o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n" in session.to_bytes()


def test_bare_line_feeds_are_tolerated() -> None:
    assert parse_session(EXAMPLE.replace(b"\r\n", b"\n")) == parse_session(EXAMPLE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"v=1\r\n",
        b"v=0\r\ns=-\r\n",
        b"v=0\r\no=- 1 1 IN IP4\r\n",
        b"v=0\r\no=- 1 1 IN IP4 a b\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\no=- 1 1 IN IP4 1.2.3.4\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio 99999 RTP/AVP 0\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio -1 RTP/AVP 0\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio 1 RTP/AVP \xff\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.4 5\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nnonsense\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\na=x\0y\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\n" + b"m=audio 1 RTP/AVP 0\r\n" * 17,
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\n" + b"a=x\r\n" * 500,
        b"v=0\r\n" + b"s" * MAX_BYTES,
    ],
)
def test_what_is_no_session_description_is_refused(data: bytes) -> None:
    with pytest.raises(SdpError):
        parse_session(data)


def test_every_prefix_is_an_error_or_a_session() -> None:
    for end in range(len(EXAMPLE)):
        try:
            parse_session(EXAMPLE[:end])
        except SdpError:
            continue


def test_odd_origin_numbers_are_tolerated() -> None:
    session = parse_session(b"v=0\r\no=root -5 99999999999999999999999 IN IP4 1.2.3.4\r\ns=-\r\n")
    assert (session.session_id, session.version) == (0, 0)
