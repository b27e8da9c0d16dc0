"""Packs of high-risk ranges: signed, of the highest version, obeyed where they lie, and never a reason to refuse what anybody may call."""

import os
from pathlib import Path

import phonenumbers
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from hushwire.app import config as configuration
from hushwire.app import doctor_risk_packs
from hushwire.app.deployment import Administration
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.cli.commands import application
from hushwire.cli.voice_security import _service
from hushwire.core.errors import ConfigError
from hushwire.policy.judge import decide
from hushwire.policy.model import Allow, Attempt, Channel, Deny, Reason, Verdict
from hushwire.policy.risk import RiskPack, RiskPackError, difference, read_pack
from hushwire.policy.rules import ExceptionKind, NumberException, Rules
from hushwire.services.risk_packs import (
    PROJECT_KEY,
    RiskPacks,
    forget_kept,
    key_id_of,
    left_behind,
    load,
    newest,
    public_text,
    signed,
    trusted_keys,
)
from hushwire.store.database import Database
from hushwire.store.risk_packs import keep, versions
from tests.databases import Databases, RoleName
from tests.policy.rules import NOW

KEY = Ed25519PrivateKey.generate()
TRUSTED = public_text(KEY.public_key())
HEAD = "hushwire-risk-pack 1\nname: own\nversion: {version}\nissued: 2026-11-26\nsource: us | our own bills\n"


def text(version: int = 1, *lines: str) -> bytes:
    return (HEAD.format(version=version) + "\n".join(lines or ["+4930 | misuse | us | a street in Berlin"]) + "\n").encode()


def judged(number: str, *packs: RiskPack, exceptions: tuple[NumberException, ...] = ()) -> Verdict:
    rules = Rules(1, "DE", frozenset({"DE", "US"}), packs=packs, exceptions=exceptions)
    return decide(Attempt(number, Channel.INVITE), rules, NOW)


def test_the_pack_that_ships_is_signed_by_the_project_and_names_a_source_for_every_range() -> None:
    (pack,) = RiskPacks(None).packs()
    assert len(pack.risks) >= 10
    assert all(risk.source in pack.sources and risk.note for risk in pack.risks.values())
    assert isinstance(judged("+17124321234"), Allow)
    verdict = judged("+17124321234", pack)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.rule) == (Reason.HIGH_RISK, f"risk-pack {pack} +1712432")


def test_no_range_that_ships_covers_an_example_number_of_any_country() -> None:
    (pack,) = RiskPacks(None).packs()
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in range(11):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is not None:
                assert pack.find(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)) is None, (region, kind)


def test_the_narrowest_range_counts_and_an_exception_opens_one_number_or_many() -> None:
    pack = read_pack(text(1, "+4930 | misuse | us | Berlin", "+49301234 | unallocated | us | a block").decode(), b"x")
    found = pack.find("+4930123456")
    assert found is not None
    assert found.prefix == "+49301234"
    for excepted, opens in (("+4930123456", False), ("+4930", True)):
        one = NumberException(ExceptionKind.RISK, excepted, opens, "DE")
        assert isinstance(judged("+4930123456", pack, exceptions=(one,)), Allow)
        assert isinstance(judged("+4930123457", pack, exceptions=(one,)), Allow) is opens


def test_a_file_in_the_folder_is_in_force_at_the_next_look_and_the_highest_version_counts(tmp_path: Path) -> None:
    packs = RiskPacks(tmp_path, [TRUSTED])

    def own() -> int | None:
        packs.look()
        return next((pack.version for pack in packs.packs() if pack.name == "own"), None)

    assert own() is None
    (tmp_path / "b.riskpack").write_bytes(signed(text(2), KEY, "b"))
    assert own() == 2
    (tmp_path / "c.riskpack").write_bytes(signed(text(1), KEY, "c"))
    assert own() == 2
    (tmp_path / "b.riskpack").write_bytes(signed(text(3), KEY, "b"))
    assert own() == 3
    # What can't be read leaves what was in force.
    (tmp_path / "b.riskpack").write_bytes(b"torn")
    assert own() == 3
    os.remove(tmp_path / "b.riskpack")
    assert own() == 1


async def test_no_restart_and_no_file_that_is_gone_brings_an_older_version_back_but_the_operators_word_does(
    databases: Databases, tmp_path: Path
) -> None:
    gateway, owner = await databases.connect("main", "gateway"), await databases.connect("main")
    file, clock = tmp_path / "own.riskpack", SystemClock()

    async def started(role: RoleName = "gateway") -> RiskPacks:
        packs = RiskPacks(tmp_path, [TRUSTED])
        packs.look()
        await packs.share(await databases.connect("main", role), clock)
        return packs

    def own(packs: RiskPacks) -> int | None:
        return next((pack.version for pack in packs.packs() if pack.name == "own"), None)

    file.write_bytes(signed(text(5), KEY, "own"))
    running = await started()
    assert own(running) == 5
    file.write_bytes(signed(text(4), KEY, "own"))
    assert [own(await started(role)) for role in ("gateway", "api", "worker")] == [5, 5, 5]
    file.unlink()
    assert own(await started()) == 5, "what was obeyed once needs no file"
    assert RiskPacks(tmp_path).packs() == (await unsigned(tmp_path, gateway, clock)).packs(), (
        "nor is it obeyed where its key is not trusted"
    )
    file.write_bytes(signed(text(4), KEY, "own"))
    assert await forget_kept(owner, "own", clock.now(), "operator") == 5
    running.look()
    await running.share(gateway, clock)
    assert own(running) == own(await started()) == 4
    file.write_bytes(signed(text(3), KEY, "own"))
    assert own(await started()) == 4, "from here on this one is the highest"
    with pytest.raises(ConfigError, match="no version"):
        await forget_kept(owner, "other", clock.now(), "operator")


async def test_a_row_that_is_signed_by_nobody_who_is_trusted_takes_no_pack_out_of_force(databases: Databases, tmp_path: Path) -> None:
    gateway, clock = await databases.connect("main", "gateway"), SystemClock()
    (tmp_path / "own.riskpack").write_bytes(signed(text(5), KEY, "own"))
    packs = RiskPacks(tmp_path, [TRUSTED])
    packs.look()
    await packs.share(gateway, clock)
    (tmp_path / "own.riskpack").unlink()
    packs.look()
    async with gateway.transaction() as connection:
        other = Ed25519PrivateKey.generate()
        for key_id in (key_id_of(other.public_key()), key_id_of(KEY.public_key())):  # as it is, and as it would be taken for ours
            await keep(connection, "own", key_id, 6, signed(text(6), other, "own"), clock.now())
    for _ in range(2):
        await packs.share(gateway, clock)
        assert [pack.version for pack in packs.packs() if pack.name == "own"] == [5]


async def test_a_key_that_is_taken_away_takes_no_other_with_it_holds_back_nothing_and_the_doctor_says_what_stands_open(
    databases: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway, clock = await databases.connect("main", "gateway"), SystemClock()
    lost, file = Ed25519PrivateKey.generate(), tmp_path / "own.riskpack"

    async def own(*keys: str) -> int | None:
        packs = RiskPacks(tmp_path, keys)
        packs.look()
        await packs.share(gateway, clock)
        return next((pack.version for pack in packs.packs() if pack.name == "own"), None)

    async def said(*keys: str) -> list[tuple[str, int]]:
        async with gateway.transaction() as connection:
            found = left_behind(await versions(connection), trusted_keys([PROJECT_KEY, *keys]))
        assert bool(found) == ("risk_pack.left_behind" in capsys.readouterr().out)
        if found:
            with pytest.raises(ConfigError, match="own 999999"):
                doctor_risk_packs.told(found)
        return [(name, version) for name, version, _ in found]

    both = (TRUSTED, public_text(lost.public_key()))
    for version, key in ((4, KEY), (999_999, lost)):
        file.write_bytes(signed(text(version), key, "own"))
        assert await own(*both) == version
    file.unlink()
    assert (await own(TRUSTED), await said(TRUSTED)) == (4, [("own", 999_999)]), "what the other key signed before stands again"
    file.write_bytes(signed(text(3), KEY, "own"))
    assert await own(TRUSTED) == 4, "and is the floor"
    file.write_bytes(signed(text(6), KEY, "own"))
    assert await own(TRUSTED) == 6, "what is newer is not held back"
    file.unlink()
    assert await own(TRUSTED) == 6, "and needs no file from then on"
    assert await own(*both) == 999_999
    capsys.readouterr()
    assert (await own(*both), await said(*both)) == (999_999, [])
    assert await forget_kept(await databases.connect("main"), "own", clock.now(), "operator") == 999_999
    assert (await own(TRUSTED), await said(TRUSTED)) == (None, [])


async def test_a_command_that_reads_takes_what_is_kept_and_keeps_nothing(databases: Databases, tmp_path: Path) -> None:
    owner, clock = await databases.connect("main"), SystemClock()
    (tmp_path / "own.riskpack").write_bytes(signed(text(5), KEY, "own"))
    async with owner.transaction() as connection:
        await keep(
            connection, "kept", key_id_of(KEY.public_key()), 2, signed(text(2).replace(b"own", b"kept", 1), KEY, "kept"), clock.now()
        )
        before = await versions(connection)
    config = tmp_path / "hushwire.toml"
    config.write_text(f'[data]\ndir = "{tmp_path}/data"\n[risk_packs]\nfolder = "{tmp_path}"\nkeys = ["{TRUSTED}"]\n')
    settings = configuration.load(config, {})
    means = Administration(settings, None, None, owner, None, clock, SystemRandom())  # type: ignore[arg-type]
    service = await _service(means, settings)
    assert {pack.name for pack in service._packs()} >= {"own", "kept"}
    async with owner.transaction() as connection:
        assert await versions(connection) == before


async def unsigned(folder: Path, db: Database, clock: SystemClock) -> RiskPacks:
    """Where nobody's own key is trusted."""
    packs = RiskPacks(folder)
    await packs.share(db, clock)
    return packs


def test_only_what_a_trusted_key_signed_is_obeyed_and_every_byte_counts(tmp_path: Path) -> None:
    good = signed(text(), KEY, "a")
    path, keys = tmp_path / "a.riskpack", trusted_keys([TRUSTED])
    path.write_bytes(good)
    assert load(path, keys).pack.name == "own"
    stranger = signed(text(), Ed25519PrivateKey.generate(), "a")
    key_id = good.rsplit(b"signature: ", 1)[1][:16]
    relabelled = stranger.replace(stranger.rsplit(b"signature: ", 1)[1][:16], key_id)
    changed, longer = good.replace(b"+4930", b"+4931"), good + b"+49 | misuse | us | x\n"
    for wrong in (text(), stranger, relabelled, changed, longer, b"\n" + good, good[:-8]):
        path.write_bytes(wrong)
        with pytest.raises(RiskPackError):
            load(path, keys)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["+4930 | misuse | us | a", "+4930 | misuse | us | b"], "twice"),
        (["+4930 | odd | us | a"], "kind"),
        (["+4930 | misuse | them | a"], "source"),
        (["4930 | misuse | us | a"], "neither a range"),
        (["+49 30 | misuse | us | a"], "must be"),
        (["+0 | misuse | us | a"], "must be"),
        (["version: 2"], "neither"),
    ],
)
def test_a_text_that_is_no_pack_is_refused_with_the_line(lines: list[str], words: str) -> None:
    with pytest.raises(RiskPackError, match=words):
        signed(text(1, *lines), KEY, "a")


def test_what_changed_between_two_versions_is_told(tmp_path: Path) -> None:
    old = read_pack(text(1, "+491 | misuse | us | a", "+492 | misuse | us | a").decode(), b"x")
    new = read_pack(text(2, "+492 | unallocated | us | a", "+493 | misuse | us | a").decode(), b"y")
    found = difference(old, new)
    assert ([one.prefix for one in found.added], [one.prefix for one in found.removed]) == (["+493"], ["+491"])
    assert [after.prefix for _, after in found.changed] == ["+492"]
    assert newest([old, new]) == (new,)


def test_the_commands_make_a_key_sign_verify_show_and_compare(tmp_path: Path) -> None:
    config, pack = tmp_path / "hushwire.toml", tmp_path / "a.riskpack"
    key, pem = tmp_path / "key.pem", KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    config.write_text(f'[data]\ndir = "{tmp_path}/data"\n[risk_packs]\nfolder = "packs"\nkeys = ["{TRUSTED}"]\n')
    key.write_bytes(pem)
    pack.write_bytes(text())

    def run(*said: str) -> tuple[int, str]:
        done = CliRunner().invoke(application, ["risk-pack", *said])
        return done.exit_code, done.output

    assert run("verify", str(pack), "--config", str(config))[0] != 0
    assert run("sign", str(pack), "--key", str(key))[0] == 0
    assert run("verify", str(pack), "--config", str(config))[0] == 0
    assert "a street in Berlin" in run("show", str(pack), "--config", str(config))[1]
    assert "public-ranges" in run("show", "--config", str(config))[1]
    assert "0 added" in run("diff", str(pack), str(pack), "--config", str(config))[1]
    made = run("new-key", str(tmp_path / "new.pem"))
    assert made[0] == 0
    assert trusted_keys([made[1].strip()])
    assert (tmp_path / "new.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError):
        trusted_keys(["ed25519:abc"])
