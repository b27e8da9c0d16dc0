"""What phones are told, by the shape that Linphone's remote provisioning has."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from hushwire.services.phone_accounts import PhoneAccount, linphone, sheet
from hushwire.services.provisioning_links import qr_code
from hushwire.sip.digest import Algorithm
from hushwire.sip.uri import parse_name_addr, parse_sip_uri

PROXY = parse_sip_uri("sip:192.0.2.1:5061;transport=tls")
ACCOUNT = PhoneAccount("anna", "acme.voice.example.org", "voice.example.org", "d" + "a" * 16, "geheim<&>\"'", PROXY, True)
NAMESPACE = "{http://www.linphone.org/xsds/lpconfig.xsd}"


def entries(account: PhoneAccount) -> dict[str, dict[str, str]]:
    root = ElementTree.fromstring(linphone(account).encode())
    assert root.tag == f"{NAMESPACE}config"
    found: dict[str, dict[str, str]] = {}
    for section in root:
        assert section.tag == f"{NAMESPACE}section"
        assert all(entry.tag == f"{NAMESPACE}entry" and entry.get("overwrite") == "true" for entry in section)
        found[section.attrib["name"]] = {entry.attrib["name"]: entry.text or "" for entry in section}
    return found


def test_linphones_document_names_account_proxy_and_credentials_and_asks_for_nothing_twice() -> None:
    found = entries(ACCOUNT)
    proxy, auth = found["proxy_0"], found["auth_info_0"]
    assert parse_name_addr(proxy["reg_identity"]).sip_uri == parse_sip_uri("sip:anna@acme.voice.example.org")
    assert parse_name_addr(proxy["reg_proxy"]).sip_uri == ACCOUNT.proxy
    assert (proxy["reg_sendregister"], proxy["realm"]) == ("1", "voice.example.org")
    assert (auth["username"], auth["userid"], auth["passwd"]) == ("anna", ACCOUNT.login, ACCOUNT.password)
    assert auth["algorithm"] == Algorithm.SHA256.value
    assert found["misc"] == {"config-uri": ""}


def test_media_is_protected_by_keys_in_sdp_only_where_the_signalling_is() -> None:
    assert entries(ACCOUNT)["sip"]["media_encryption"] == "srtp"
    assert entries(ACCOUNT)["sip"]["media_encryption_mandatory"] == "1"
    clear = replace(ACCOUNT, proxy=parse_sip_uri("sip:192.0.2.1"), needs_srtp=False)
    assert entries(clear)["sip"]["media_encryption"] == "dtls"
    assert entries(clear)["sip"]["media_encryption_mandatory"] == "0"


def test_the_sheet_has_what_any_phone_asks_for() -> None:
    lines = dict(line.split(":", 1) for line in sheet(ACCOUNT).splitlines())
    told = {name: value.strip() for name, value in lines.items()}
    assert told["SIP address"] == "sip:anna@acme.voice.example.org"
    assert (told["Authentication name"], told["Password"]) == (ACCOUNT.login, ACCOUNT.password)
    assert (told["Outbound proxy"], told["Transport"]) == ("192.0.2.1:5061", "TLS")
    assert told["Media encryption"] == "SRTP, mandatory"


def test_nothing_secret_shows_in_a_repr() -> None:
    assert ACCOUNT.password not in repr(ACCOUNT)
    assert "anna" not in repr(ACCOUNT)


def test_a_qr_code_is_one_svg_image() -> None:
    image = ElementTree.fromstring(qr_code("https://voice.example.org/provisioning/" + "a" * 43))
    assert image.tag.endswith("svg")
