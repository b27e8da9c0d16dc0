"""The provisioning file: read and checked as a whole, every mistake named at once, before anything is touched."""

import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hushwire.app.mistakes import words
from hushwire.app.provision_checks import contradictions
from hushwire.app.provision_desired import desired
from hushwire.app.provision_tables import Document, Org, Trunk
from hushwire.app.provision_values import country_code
from hushwire.core.errors import ConfigError
from hushwire.policy.rating import Rate, RatesUnreadableError, read_csv
from hushwire.services.provisioning_custody import CustodySpec, RecipientSpec
from hushwire.services.provisioning_specs import Desired
from hushwire.vault.recipients import RecipientKeyError, load_public


def read(path: Path, regions: Iterable[str]) -> Desired:
    """What the file declares. `regions` are the residencies that a store serves (`*`: any).

    Raises ConfigError with one line per mistake: the file, the entry, the key, the mend.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        document = Document.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError("\n".join(f"{path}: {_place(tree, problem['loc'])}: {words(problem)}" for problem in found)) from None
    problems = [*contradictions(document, set(regions))]
    custody = {org.slug: _custody(org, path.parent, problems) for org in document.orgs}
    rates = {trunk.name: _rates(trunk, path.parent, problems) for trunk in document.trunks if trunk.rates is not None}
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return replace(desired(document, custody), rates=rates)


def read_rates(path: Path) -> dict[str, Rate]:
    """A rate table as CSV. Raises ConfigError where the file can't be read, or is none."""
    try:
        return read_csv(path.read_text(encoding="utf-8"))
    except RatesUnreadableError as error:
        raise ConfigError(f"{path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None


def _rates(trunk: Trunk, folder: Path, problems: list[str]) -> dict[str, Rate]:
    """A trunk's rate table, from the file beside; what is wrong with it goes to `problems`."""
    try:
        return read_rates(folder / (trunk.rates or ""))
    except ConfigError as error:
        problems.append(f'trunks "{trunk.name}" rates: {error}')
        return {}


def _custody(org: Org, folder: Path, problems: list[str]) -> CustodySpec:
    """The organisation's own keys, read from the file or from files beside it; what is wrong with them goes to `problems`."""
    if org.recipients is None:
        return CustodySpec(org.custody)
    made = []
    for position, entry in enumerate(org.recipients, 1):
        where = f'orgs "{org.slug}" recipients[{position}] "{entry.name}"'
        try:
            text = entry.public_key
            if entry.public_key_file is not None:
                text = (folder / entry.public_key_file).read_text(encoding="ascii")
            made.append(RecipientSpec(entry.name, load_public(entry.algorithm, text or ""), entry.expires_at))
        except RecipientKeyError as error:
            problems.append(f"{where} {'public_key' if entry.public_key else 'public_key_file'}: {error}")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            problems.append(f"{where} public_key_file: can't be read ({reason})")
    if len({entry.key.fingerprint for entry in made}) < len(made):
        problems.append(f'orgs "{org.slug}" recipients: a key stands twice')
    return CustodySpec(org.custody, tuple(made))


def _place(tree: Any, location: tuple[int | str, ...]) -> str:
    """`orgs[1] "acme" agents[2] "anna" extension`: entries are counted from 1 and called by their names."""
    node: Any = tree
    parts: list[str] = []
    for step in location:
        if step in ("smpp", "http") and isinstance(node, dict) and step not in node:
            continue  # which kind of carrier it was read as
        if isinstance(step, int):
            parts[-1:] = [f"{parts[-1] if parts else ''}[{step + 1}]"]
        else:
            parts.append(step)
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
        if isinstance(step, int) and isinstance(node, dict):
            name = next((node[key] for key in ("slug", "name", "username") if isinstance(node.get(key), str)), None)
            parts += [f'"{name}"'] if name else []
    return " ".join(parts) or "the file"


def countries(codes: Iterable[str]) -> list[str]:
    """An allowlist, sorted and without repetitions. Raises ConfigError for what is no country code."""
    wrong = []
    for code in codes:
        try:
            country_code(code)
        except ValueError as error:
            wrong.append(f"{code!r}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return sorted(set(codes))
