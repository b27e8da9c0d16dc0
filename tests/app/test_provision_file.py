"""The provisioning file: right ones are read, broken ones say where and how to mend them."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from hushwire.app import provision_file
from hushwire.app.provision_tables import CivicAddress, Document, HttpCarrier, NumberException
from hushwire.core.errors import ConfigError
from hushwire.services.provisioning_custody import CustodySpec
from hushwire.services.provisioning_specs import Desired
from tests.vault.test_envelopes import ours

TOP = Path(__file__).parents[2]

ORG = """
[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
"""
TRUNK = """
[[trunks]]
name = "c"
uri = "sip:192.0.2.1"
srtp = "never"
"""


def read(folder: Path, text: str, regions: tuple[str, ...] = ("*",)) -> Desired:
    path = folder / "provision.toml"
    path.write_text(text)
    return provision_file.read(path, regions)


def mistakes(folder: Path, text: str, regions: tuple[str, ...] = ("*",)) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, regions)
    assert all(line.startswith(str(folder / "provision.toml")) for line in str(caught.value).splitlines())
    return str(caught.value)


def test_the_shipped_example_is_right() -> None:
    desired = provision_file.read(TOP / "config" / "example-provision.toml", ["*"])
    assert [trunk.name for trunk in desired.trunks] == ["carrier"]
    (org,) = desired.orgs
    assert org.row.allowed_countries == ("AT", "DE")
    assert [agent.username for agent in org.agents] == ["anna", "ben"]
    assert org.numbers[0].to == "anna"


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ("[[orgs]", "is not TOML", ""),
        ('colour = "red"', "colour", "correct the spelling"),
        ("[[orgs]]\nslug = 'acme'", 'orgs[1] "acme" name', "is missing"),
        (ORG.replace('"acme"', '"A B"'), 'orgs[1] "A B" slug', "lower-case"),
        (ORG.replace('"DE"', '"Germany"'), "home_country", "ISO 3166-1"),
        (ORG.replace('"DE"', '"UK"'), "home_country", "ISO 3166-1"),
        (ORG + 'allowed_countries = ["DE", "+1"]', "allowed_countries[2]", "ISO 3166-1"),
        (ORG + 'allowed_countries = ["DE", "DE"]', "allowed_countries", "stands twice"),
        (ORG + 'record = "sometimes"', "record", "'all', 'none' or 'on-demand'"),
        (ORG + 'record = true', "record", "'all', 'none' or 'on-demand'"),
        (ORG + 'announce_at = "never"', "announce_at", "'answer' or 'before'"),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\nmedia_ports = 'any'", "media_ports", "'auto', 'shared' or 'own'"),
        (ORG + "agents = 3", "agents", "must be a list"),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\nextension = 101", 'agents[1] "anna" extension', "in quotes"),
        (ORG + "[[orgs.agents]]\nusername = 'an na'", 'agents[1] "an na" username', "letters, digits"),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\nrole = 'boss'", "role", "'owner'"),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\ncaller_id = '030 123'", "caller_id", "+493023125000"),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\nsip_password = 'short'", "sip_password", "at least 8"),
        (ORG + "[[orgs.agents]]\nusername = 'annabella'\nsip_password = 'annabella'", 'agents[1] "annabella"', "anyone would guess"),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\n[[orgs.agents]]\nusername = 'Anna'", "username", "stands twice"),
        (
            ORG + "[[orgs.agents]]\nusername = 'a'\nextension = '101'\n[[orgs.agents]]\nusername = 'b'\nextension = '101'",
            'extension "101"',
            "stands twice",
        ),
        (ORG + "[[orgs.agents]]\nusername = 'anna'\nextension = '112'", "extension", "emergency"),
        (ORG + "[[orgs.numbers]]\nnumber = '+493023125000'\nto = 'carl'", 'numbers[1] to: there is no agent "carl"', "declare it"),
        (ORG + "[[orgs.numbers]]\nnumber = '+493023125000'\n[[orgs.numbers]]\nnumber = '+493023125000'", "numbers[2]", "already"),
        (ORG + "[[orgs.numbers]]\nnumber = '+49'", "numbers[1] number", "full international number"),
        (ORG + 2 * "[[orgs.api_keys]]\nname = 'ci'\nrole = 'owner'\n", "api_keys", "stands twice"),
        (ORG + ORG, 'slug "acme"', "stands twice"),
        ("[[trunks]]\nname = 'c'\nuri = 'tel:+49'\nsrtp = 'never'", 'trunks[1] "c" uri', "SIP URI"),
        (TRUNK + "username = 'x'", 'trunks[1] "c"', "username and password together"),
        (TRUNK + "addresses = ['carrier']", "addresses[1]", "IP address"),
    ],
)  # fmt: skip
def test_a_broken_file_names_the_place_and_the_mend(tmp_path: Path, text: str, place: str, mend: str) -> None:
    said = mistakes(tmp_path, text)
    assert place in said
    assert mend in said


def test_when_is_announced_and_whose_media_shares_ports_is_read_and_else_as_it_always_was(tmp_path: Path) -> None:
    (org,) = read(
        tmp_path, ORG + 'announcement = "both"\nannounce_at = "before"\n[[orgs.agents]]\nusername = "anna"\nmedia_ports = "own"'
    ).orgs
    assert (org.row.announcement, org.row.announce_at, org.agents[0].media_ports) == ("both", "before", "own")
    (org,) = read(tmp_path, ORG + '[[orgs.agents]]\nusername = "anna"').orgs
    assert (org.row.announce_at, org.agents[0].media_ports) == ("answer", "auto")


def test_a_residency_that_no_store_serves_is_refused(tmp_path: Path) -> None:
    assert "[store] regions.eu" in mistakes(tmp_path, ORG, ("us",))
    assert read(tmp_path, ORG, ("eu",)).orgs


def test_passwords_and_numbers_are_not_repeated_in_the_message(tmp_path: Path) -> None:
    said = mistakes(tmp_path, ORG + "[[orgs.agents]]\nusername = 'anna'\nsip_password = 'geheim'\ncaller_id = '+49301234567890123'")
    assert "geheim" not in said
    assert "+49301234567890123" not in said


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b""])
def test_files_of_another_kind_are_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "provision.toml"
    path.write_bytes(content)
    if not content:
        assert provision_file.read(path, ["*"]) == Desired((), ())
        return
    with pytest.raises(ConfigError, match=r"is not (UTF-8|TOML)"):
        provision_file.read(path, ["*"])


def test_jurisdictions_and_contacts_are_read_in_their_one_spelling(tmp_path: Path) -> None:
    text = ORG + 'jurisdiction = ["EU/DE", "GB"]\n[[orgs.contacts]]\nemail = "Privacy@ACME.example"\nrole = "privacy"\n'
    (org,) = read(tmp_path, text).orgs
    assert org.jurisdictions == ("DE", "UK")
    assert org.contacts is not None
    assert [(role, email.reveal()) for role, email in org.contacts] == [("privacy", "Privacy@acme.example")]
    (bare,) = read(tmp_path, ORG).orgs
    assert (bare.jurisdictions, bare.contacts) == (None, None)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ('jurisdiction = ["Germany"]', "must be a jurisdiction such as"),
        ('jurisdiction = ["DE", "EU/DE"]', '"DE" stands twice'),
        ("jurisdiction = []", "jurisdiction"),
        ('[[orgs.contacts]]\nemail = "privacy"\nrole = "privacy"', "must be an e-mail address"),
        ('[[orgs.contacts]]\nemail = "a@b.de\\r\\nBcc: c@d.de"\nrole = "privacy"', "must be an e-mail address"),
        ('[[orgs.contacts]]\nemail = "a@b.de"\nrole = "boss"', "role"),
        ('[[orgs.contacts]]\nemail = "a@b.de"\nrole = "privacy"\n' * 2, "stands twice with the role privacy"),
    ],
)
def test_a_contact_or_jurisdiction_that_is_none_says_so_and_repeats_no_address(tmp_path: Path, text: str, mend: str) -> None:
    said = mistakes(tmp_path, ORG + text)
    assert mend in said
    assert "b.de" not in said


def recipient(**fields: str) -> str:
    return ORG + '[[orgs.recipients]]\nname = "vault"\nalgorithm = "x25519"\n' + "".join(f"{k} = {v}\n" for k, v in fields.items())


def test_recipients_are_read_inline_and_from_files_beside_the_file(tmp_path: Path) -> None:
    key = ours("x25519").public
    (tmp_path / "vault.pub").write_bytes(key.pem())
    end = "2031-01-01T00:00:00Z"
    for text in (
        recipient(public_key_file='"vault.pub"', expires_at=end),
        recipient(public_key=f"'''{key.pem().decode()}'''", expires_at=end),
    ):
        (org,) = read(tmp_path, text.replace("[[orgs.recip", 'custody = "both"\n[[orgs.recip')).orgs
        assert org.custody.mode == "both"
        assert org.custody.recipients is not None
        assert [(entry.name, entry.key, str(entry.expires_at)) for entry in org.custody.recipients] == [
            ("vault", key, "2031-01-01 00:00:00+00:00")
        ]
    (org,) = read(tmp_path, ORG).orgs
    assert org.custody == CustodySpec()


def test_a_recipient_that_is_none_is_named_with_its_place(tmp_path: Path) -> None:
    place = 'orgs "acme" recipients[1] "vault"'
    (tmp_path / "private.pem").write_bytes(ours("x25519").pem(None))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for fields, said in [
        ({"public_key_file": '"private.pem"'}, f"{place} public_key_file: this is a private key"),
        ({"public_key_file": '"nowhere"'}, f"{place} public_key_file: can't be read (No such file or directory)"),
        ({"public_key_file": '"bytes"'}, f"{place} public_key_file: can't be read (it is not text)"),
        ({"public_key": '"AAAA"'}, f"{place} public_key: this is no public key"),
        ({}, "give public_key"),
        ({"public_key": '"A"', "public_key_file": '"b"'}, "give public_key"),
        ({"public_key": '"A"', "expires_at": "2031-01-01T00:00:00"}, "expires_at"),
        ({"public_key": '"A"', "expires_at": "1e9"}, "expires_at"),
    ]:
        assert said in mistakes(tmp_path, recipient(**fields)), fields
    twice = recipient(public_key=f"'''{ours('x25519').public.pem().decode()}'''")
    assert "a key stands twice" in mistakes(tmp_path, twice + twice.removeprefix(ORG))
    assert "custody" in mistakes(tmp_path, ORG + 'custody = "nobody"')


def test_ring_groups_name_known_agents_and_extensions_of_their_own(tmp_path: Path) -> None:
    agents = '[[orgs.agents]]\nusername = "anna"\nextension = "101"\n'
    group = '[[orgs.groups]]\nname = "sales"\nextension = "{}"\nmembers = {}\n'
    wrong = ORG + agents + group.format("101", '["anna", "zoe"]') + group.format("112", '["anna", "anna"]')
    told = mistakes(tmp_path, wrong + '[[orgs.numbers]]\nnumber = "+493023125000"\ngroup = "support"\n')
    for said in ('the name "sales" stands twice', '"101" stands twice, or is an agent', "emergency", 'agent "zoe"', '"anna" stands twice',
                 'no group "support"'):  # fmt: skip
        assert said in told, said
    both = '[[orgs.numbers]]\nnumber = "+493023125000"\nto = "anna"\ngroup = "sales"\n'
    assert "one party" in mistakes(tmp_path, ORG + agents + group.format("600", '["anna"]') + both)
    (org,) = read(tmp_path, ORG + agents + group.format("600", '["anna"]')).orgs
    assert (org.groups[0].ring_s, org.groups[0].members) == (60, ("anna",))


def test_an_agents_forwarding_names_what_can_be_dialled_and_left_out_leaves_what_it_set_itself(tmp_path: Path) -> None:
    agent = '[[orgs.agents]]\nusername = "anna"\n'
    assert "an extension, a user name or a number" in mistakes(tmp_path, ORG + agent + 'forwarding = { busy = "sip:x@y" }')
    assert read(tmp_path, ORG + agent).orgs[0].agents[0].forwarding is None
    said = read(tmp_path, ORG + agent + 'forwarding = { busy = "102", no_answer_after_s = 20 }').orgs[0].agents[0].forwarding
    assert said is not None
    assert (said.destinations(), said.no_answer_after_s, said.call_waiting) == ({"busy": "102"}, 20, True)


def test_every_key_stands_in_the_shipped_example_or_in_a_page_that_it_names() -> None:
    example = (TOP / "config" / "example-provision.toml").read_text()
    pages = sorted(set(re.findall(r"docs/[a-z-]+\.md", example)))
    told = set(re.findall(r"\w+", example + "".join((TOP / page).read_text() for page in pages)))
    found: list[type[BaseModel]] = [Document]
    for table in found:  # grows as it is read
        found += [one for field in table.model_fields.values() for one in tables_of(field.annotation) if one not in found]
    assert {name for table in found for name in table.model_fields} - told == set()
    assert {CivicAddress, HttpCarrier, NumberException} <= set(found)


def tables_of(annotation: Any) -> list[type[BaseModel]]:
    """The tables that a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in tables_of(part)]
