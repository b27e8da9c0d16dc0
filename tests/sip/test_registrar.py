"""REGISTER semantics (RFC 3261 section 10.3)."""

from collections.abc import Iterable

from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.sip.registrar import Binding, Bounds, Registered, RegisterOutcome, RegisterRefused, register
from tests.sip.world import UDP

NOW = 5000.0


def request(
    contacts: list[str], *, cseq: int = 1, call_id: str = "reg", extra: str = "", headers: Iterable[tuple[str, str]] = ()
) -> Request:
    extra += "".join(f"{name}: {value}\r\n" for name, value in headers)
    lines = "".join(f"Contact: {contact}\r\n" for contact in contacts)
    message = parse(
        (
            "REGISTER sip:acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKr\r\nMax-Forwards: 70\r\n"
            "From: <sip:anna@acme.example>;tag=a\r\nTo: <sip:anna@acme.example>\r\n"
            f"Call-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{lines}{extra}Content-Length: 0\r\n\r\n"
        ).encode()
    )
    assert isinstance(message, Request)
    return message


def registered(outcome: RegisterOutcome) -> Registered:
    assert isinstance(outcome, Registered)
    return outcome


def status(outcome: RegisterOutcome) -> int:
    assert isinstance(outcome, RegisterRefused)
    return outcome.status


def bind(*contacts: str, **options: object) -> tuple[Binding, ...]:
    return registered(register(request(list(contacts), **options), UDP, (), NOW)).bindings  # type: ignore[arg-type]


def test_contacts_are_bound_with_their_own_lifetime_or_the_requests_or_the_default() -> None:
    outcome = registered(register(request(["<sip:a@192.0.2.9>;expires=60", "<sip:b@192.0.2.9>"], extra="Expires: 120\r\n"), UDP, (), NOW))
    assert [binding.expires_at - NOW for binding in outcome.bindings] == [60, 120]
    assert [binding.expires_at - NOW for binding in bind("<sip:c@192.0.2.9>")] == [Bounds().default_s]
    assert outcome.stored == outcome.bindings
    assert [value for _, value in outcome.headers] == ["<sip:a@192.0.2.9>;expires=60", "<sip:b@192.0.2.9>;expires=120"]


def test_lifetimes_are_cut_at_the_most_and_refused_below_the_least() -> None:
    assert bind("<sip:a@192.0.2.9>;expires=99999999")[0].expires_at == NOW + Bounds().max_s
    outcome = register(request(["<sip:a@192.0.2.9>;expires=5"]), UDP, (), NOW)
    assert status(outcome) == 423
    assert isinstance(outcome, RegisterRefused)
    assert outcome.headers == (("Min-Expires", "30"),)


def test_a_refresh_replaces_and_zero_removes() -> None:
    first = bind("<sip:a@192.0.2.9;transport=tls>;expires=60")
    outcome = registered(register(request(["<sip:a@192.0.2.9;transport=tls>;expires=90"], cseq=2), UDP, first, NOW + 10))
    assert [binding.expires_at for binding in outcome.bindings] == [NOW + 100]
    outcome = registered(register(request(["<sip:a@192.0.2.9;transport=tls>;expires=0"], cseq=3), UDP, outcome.bindings, NOW + 20))
    assert outcome.bindings == ()
    assert len(outcome.removed) == 1


def test_several_devices_stay_side_by_side() -> None:
    first = bind("<sip:a@192.0.2.9>")
    outcome = registered(register(request(["<sip:a@192.0.2.10>"], call_id="other"), UDP, first, NOW))
    assert len(outcome.bindings) == 2
    assert len(outcome.stored) == 1
    assert len(outcome.headers) == 2


def test_a_query_lists_and_changes_nothing() -> None:
    first = bind("<sip:a@192.0.2.9>;q=0.5")
    outcome = registered(register(request([]), UDP, first, NOW))
    assert outcome.bindings == first
    assert outcome.stored == ()
    assert outcome.headers == (("Contact", "<sip:a@192.0.2.9>;expires=600;q=0.5"),)


def test_a_star_removes_all_but_only_with_expires_0() -> None:
    first = bind("<sip:a@192.0.2.9>", "<sip:b@192.0.2.9>")
    outcome = registered(register(request(["*"], cseq=2, extra="Expires: 0\r\n"), UDP, first, NOW))
    assert outcome.bindings == ()
    assert len(outcome.removed) == 2
    assert status(register(request(["*"], cseq=2), UDP, first, NOW)) == 400
    assert status(register(request(["*", "<sip:a@192.0.2.9>"], cseq=2, extra="Expires: 0\r\n"), UDP, first, NOW)) == 400


def test_an_old_request_that_comes_late_changes_nothing() -> None:
    first = bind("<sip:a@192.0.2.9>", cseq=7)
    assert status(register(request(["<sip:a@192.0.2.9>;expires=0"], cseq=7), UDP, first, NOW)) == 500
    assert status(register(request(["*"], cseq=6, extra="Expires: 0\r\n"), UDP, first, NOW)) == 500


def test_another_call_id_may_have_a_lower_cseq() -> None:
    first = bind("<sip:a@192.0.2.9>", cseq=7)
    assert len(registered(register(request(["<sip:a@192.0.2.9>"], cseq=1, call_id="rebooted"), UDP, first, NOW)).bindings) == 1


def test_lapsed_bindings_are_reported_as_removed() -> None:
    first = bind("<sip:a@192.0.2.9>;expires=60")
    outcome = registered(register(request([]), UDP, first, NOW + 61))
    assert outcome.bindings == ()
    assert outcome.removed == first


def test_a_device_is_known_by_its_instance_when_its_address_changes() -> None:
    instance = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>";reg-id=1'
    first = bind(f"<sip:a@192.0.2.9>{instance}")
    outcome = registered(register(request([f"<sip:a@198.51.100.1:2048>{instance}"], cseq=2), UDP, first, NOW))
    assert [binding.contact.host for binding in outcome.bindings] == ["198.51.100.1"]


def test_too_many_devices_and_foreign_schemes_are_refused() -> None:
    assert status(register(request([f"<sip:a@192.0.2.{n}>" for n in range(1, 12)]), UDP, (), NOW)) == 403
    assert status(register(request(["<mailto:anna@acme.example>"]), UDP, (), NOW)) == 416
    assert status(register(request(["<sip:a@192.0.2.9>;q=7"]), UDP, (), NOW)) == 400


INSTANCE = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'


def test_path_is_kept_with_the_binding_in_its_order_and_told_to_who_supports_it() -> None:
    edges = [("Path", "<sip:near.example;lr>, <sip:far.example;lr;ob>")]
    outcome = registered(register(request(["<sip:a@192.0.2.9>"], headers=[*edges, ("Supported", "path")]), UDP, (), NOW))
    assert outcome.bindings[0].path == ("<sip:near.example;lr>", "<sip:far.example;lr;ob>")
    assert [value for name, value in outcome.headers if name == "Path"] == ["<sip:near.example;lr>", "<sip:far.example;lr;ob>"]
    silent = registered(register(request(["<sip:a@192.0.2.9>"], headers=edges), UDP, (), NOW))
    assert silent.bindings[0].path == outcome.bindings[0].path
    assert [name for name, _ in silent.headers] == ["Contact"]


def test_outbound_is_confirmed_and_a_first_proxy_without_it_is_told() -> None:
    flow = [f"<sip:a@192.0.2.9>{INSTANCE};reg-id=1"]
    supported = ("Supported", "outbound, path")
    assert ("Require", "outbound") in registered(register(request(flow, headers=[supported]), UDP, (), NOW)).headers
    through = registered(register(request(flow, headers=[supported, ("Path", "<sip:edge.example;lr;ob>")]), UDP, (), NOW))
    assert ("Require", "outbound") in through.headers
    assert status(register(request(flow, headers=[supported, ("Path", "<sip:edge.example;lr>")]), UDP, (), NOW)) == 439
    many = ("Path", ", ".join(f"<sip:edge{n}.example;lr>" for n in range(9)))
    assert status(register(request(["<sip:a@192.0.2.9>"], headers=[many]), UDP, (), NOW)) == 400


def test_two_flows_of_one_instance_stand_side_by_side_and_each_is_replaced_alone() -> None:
    first = bind(f"<sip:a@192.0.2.9:1>{INSTANCE};reg-id=1")
    both = registered(register(request([f"<sip:a@192.0.2.9:2>{INSTANCE};reg-id=2"], cseq=2), UDP, first, NOW)).bindings
    assert sorted(binding.reg_id or 0 for binding in both) == [1, 2]
    again = registered(register(request([f"<sip:a@192.0.2.9:3>{INSTANCE};reg-id=2"], cseq=3), UDP, both, NOW)).bindings
    assert sorted((binding.reg_id or 0, binding.contact.port) for binding in again) == [(1, 1), (2, 3)]
    # Without an instance a reg-id means nothing.
    (plain,) = registered(register(request(["<sip:a@192.0.2.9>;reg-id=1"]), UDP, (), NOW)).bindings
    assert plain.reg_id is None
