"""`hushwire risk-pack ...`: packs of high-risk ranges, read, compared and signed."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from hushwire.app.deployment import administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.policy.risk import Risk, difference
from hushwire.services.risk_packs import (
    PROJECT_KEY,
    SUFFIX,
    SignedPack,
    forget_kept,
    newest,
    public_text,
    read_signed,
    shipped,
    signed,
    trusted_keys,
)
from hushwire.services.risk_packs import load as load_pack
from hushwire.services.rule_changes import OPERATOR

risk_packs = typer.Typer(help="Packs of high-risk ranges.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help=f"A pack, *{SUFFIX}.", show_default=False)]
SigningKey = Annotated[Path, typer.Option("--key", metavar="KEY", help="The private key (PEM).", show_default=False)]


@risk_packs.command()
def verify(file: File, config: ConfigFile = None, json: AsJson = False) -> None:
    """Check the signature of FILE against the project's key and those of the configuration. Exit status 0 only if it holds."""
    found = _read(file, config)
    said = _head(found)
    if json:
        print_json(said)
    else:
        people.print(f"{found.pack}: {len(found.pack.risks)} ranges, issued {found.pack.issued}, signed by {found.key_id}", markup=False)


@risk_packs.command()
def show(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="None: what is in force here.", show_default=False)] = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Show every range of a pack, with its kind and source; without FILE of all that are in force."""
    found = _in_force(config) if file is None else [_read(file, config)]
    if json:
        print_json([_head(one) | {"ranges": [_said(risk) for _, risk in sorted(one.pack.risks.items())]} for one in found])
        return
    for one in found:
        people.print(f"{one.pack}, issued {one.pack.issued}, signed by {one.key_id}", markup=False)
        for prefix, risk in sorted(one.pack.risks.items()):
            people.print(f"  {prefix:16} {risk.kind.value:16} {risk.note} [{one.pack.sources[risk.source]}]", markup=False)


@risk_packs.command()
def diff(old: File, new: File, config: ConfigFile = None, json: AsJson = False) -> None:
    """Say what NEW has beside OLD. Both must be signed."""
    found = difference(_read(old, config).pack, _read(new, config).pack)
    if json:
        changed = [{"before": _said(before), "after": _said(after)} for before, after in found.changed]
        print_json({"added": [*map(_said, found.added)], "removed": [*map(_said, found.removed)], "changed": changed})
        return
    for sign_, risks in (("+", found.added), ("-", found.removed), ("~", [after for _, after in found.changed])):
        for risk in risks:
            people.print(f"{sign_} {risk.prefix:16} {risk.kind.value:16} {risk.note}", markup=False)
    people.print(f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed", markup=False)


@risk_packs.command()
def sign(file: File, key: SigningKey, json: AsJson = False) -> None:
    """Sign FILE in place, after a check that it is a pack."""
    try:
        private = load_pem_private_key(key.read_bytes(), None)
        text = file.read_bytes()
    except (OSError, ValueError, TypeError):
        raise ConfigError("the pack or the key can't be read: the key must be an unencrypted Ed25519 key in PEM") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError("--key: must be an Ed25519 key")
    made = signed(text, private, file.name)
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(made)
    beside.replace(file)
    if json:
        print_json(_head(read_signed(made, trusted_keys([public_text(private.public_key())]), file.name)))
    else:
        people.print(f"{file.name} is signed.", markup=False)


@risk_packs.command()
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As the pack calls itself.", show_default=False)],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Go back: the highest version of NAME that was obeyed here holds no more, but what lies in the folder or ships. In every audit log."""
    settings = load(config, "risk-pack")

    async def run() -> int:
        async with administration(settings) as means:
            return await forget_kept(means.main, name, means.clock.now(), OPERATOR)

    version = asyncio.run(run())
    if json:
        print_json({"name": name, "version": version})
    else:
        people.print(f"{name} {version} is forgotten: gateways obey what lies in the folder within seconds", markup=False)


@risk_packs.command("new-key")
def new_key(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="Where the private key is written.", show_default=False)], json: AsJson = False
) -> None:
    """Make a key for packs of one's own; its public half goes into the configuration, [risk_packs] keys."""
    private = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{key}: can't be made ({error.strerror})") from None
    with os.fdopen(descriptor, "wb") as target:
        target.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = public_text(private.public_key())
    if json:
        print_json({"public": public})
    else:
        people.print(public, markup=False)


def _read(file: Path, config: Path | None) -> SignedPack:
    trusted = trusted_keys((PROJECT_KEY, *load(config, "risk-pack").risk_packs.keys))
    try:
        return load_pack(file, trusted)
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror})") from None


def _in_force(config: Path | None) -> list[SignedPack]:
    settings = load(config, "risk-pack")
    trusted = trusted_keys((PROJECT_KEY, *settings.risk_packs.keys))
    folder = settings.risk_pack_folder
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    found = [read_signed(data, trusted, name) for name, data in shipped()] + [load_pack(file, trusted) for file in files]
    return [next(one for one in found if one.pack is pack) for pack in newest(one.pack for one in found)]


def _head(found: SignedPack) -> dict[str, Any]:
    pack = found.pack
    issued = pack.issued.isoformat()
    return {"name": pack.name, "version": pack.version, "issued": issued, "ranges": len(pack.risks), "key_id": found.key_id}


def _said(risk: Risk) -> dict[str, str]:
    return {"prefix": risk.prefix, "kind": risk.kind.value, "source": risk.source, "note": risk.note}


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(risk_packs, name="risk-pack")
