"""E-mail addresses and messages: nothing that could start a header, a line or a command of its own."""

from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import SMTP
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.privacy.mail import address, composed, message_id, one_line
from hushwire.privacy.notices import TEXTS, NoticeKind, Value, fields_of, worded

AT = datetime(2026, 11, 13, 10, tzinfo=UTC)
NOTICE = UUID(int=7)


@pytest.mark.parametrize("text", ["privacy@acme.example", "a.b+c@sub.Example.ORG", "o'brien@x.co", "anna@xn--mller-kva.de"])
def test_an_address_is_kept_with_its_domain_in_small_letters(text: str) -> None:
    local, _, domain = text.rpartition("@")
    assert address(text) == f"{local}@{domain.lower()}"


@pytest.mark.parametrize(
    "text",
    [
        "", "@", "anna", "anna@", "@acme.example", "anna@localhost", "anna@acme..example", "anna@-acme.example", ".anna@acme.example",
        "anna@acme.example\r\nBcc: eve@evil.example", "anna@acme.example\n", "anna@acme.example>", "<anna@acme.example>",
        "anna@acme.example,eve@evil.example", "anna@acme.example eve@evil.example", '"anna"@acme.example', "anna@[127.0.0.1]",
        "anna@127.0.0.1", "ännä@acme.example", "anna@äcme.example", "anna@acme.example\0", "anna@acme．example", "anna\u202e@acme.example",
        "a b@acme.example", "a" * 65 + "@acme.example", "anna@" + "a." * 130 + "de", "anna@acme.example;", "anna(x)@acme.example",
    ],
)  # fmt: skip
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must be an e-mail address") as caught:
        address(text)
    assert text not in str(caught.value) or text in ("", "@")


@given(st.text(max_size=300))
def test_no_text_becomes_two_lines_or_hides_its_direction(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 200
    assert line.splitlines() in ([], [line])
    assert line.isprintable() or not any(ord(letter) < 32 or letter in "\u2028\u2029\u202e\x7f" for letter in line)


@given(st.text(max_size=200), st.text(max_size=400))
def test_whatever_a_subject_holds_the_message_has_exactly_our_headers(subject: str, body: str) -> None:
    subject, body = (text.encode("utf-8", "replace").decode() for text in (subject, body))
    raw = composed(notice=NOTICE, sender="p@voice.example.org", recipient="anna@acme.example", subject=subject, body=body, at=AT)
    parsed = BytesParser(policy=SMTP).parsebytes(raw)
    assert sorted(parsed.keys()) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
    )
    assert (parsed["From"], parsed["To"]) == ("p@voice.example.org", "anna@acme.example")
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_a_message_is_the_same_each_time_and_so_is_its_id() -> None:
    made = [
        composed(notice=NOTICE, sender="p@voice.example.org", recipient="anna@acme.example", subject="A", body="B", at=AT) for _ in range(2)
    ]
    assert made[0] == made[1]
    assert message_id(NOTICE, "p@voice.example.org") == f"<{NOTICE}@voice.example.org>"


def values_of(kind: NoticeKind, value: Value) -> dict[str, Value]:
    return dict.fromkeys(fields_of(kind), value)


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_a_notice_takes_exactly_its_values_and_no_value_adds_a_line(kind: NoticeKind) -> None:
    def made(value: Value, organisation: str = "Acme") -> str:
        return worded(kind, values_of(kind, value), notice=NOTICE, organisation=organisation, where="/v1", jurisdictions=("DE",)).body

    plain = made("x")
    for value in ("x\r\nBcc: eve@evil.example", "x\u2028y", "{notice}", "%s", ""):
        assert len(made(value, organisation=f"Acme{value}").splitlines()) == len(plain.splitlines())
    assert str(NOTICE) in plain
    for wrong in (values_of(kind, "x") | {"more": "x"}, dict(list(values_of(kind, "x").items())[1:])):
        with pytest.raises(ValueError, match="takes"):
            worded(kind, wrong, notice=NOTICE, organisation="Acme", where="/v1", jurisdictions=("DE",))
    assert TEXTS[kind].subject == one_line(TEXTS[kind].subject)


def test_times_are_said_in_utc_and_in_the_customers_own_zone() -> None:
    body = worded(NoticeKind.TEST, {"asked_at": AT}, notice=NOTICE, organisation="Acme", where="/v1", jurisdictions=("US-NY",)).body
    assert "2026-11-13 10:00 UTC (2026-11-13 05:00 EST)" in body
