"""The configuration: one TOML file, `HUSHWIRE_<SECTION>__<KEY>` over it, every mistake named at once.

`[data] dir` alone is enough to run. Relative paths in the file are taken from the file's own folder.

Sections on storage stand in `config_storage.py`, on what callers hear in `config_sounds.py`; `config_values.py` holds what they share.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from hushwire.app.config_sounds import Shaken, Sounds, Voicemail
from hushwire.app.config_storage import Backup, Data, Database, Keyring, Keys, Mail, Store, Zone2, checked_stores
from hushwire.app.config_values import (
    SLUG,
    Address,
    ApiListen,
    FilePath,
    Listen,
    NameServer,
    NodeAddress,
    PortRange,
    Ports,
    Section,
    SipListen,
    Source,
    bracketed,
)
from hushwire.app.mistakes import words
from hushwire.core.errors import ConfigError
from hushwire.services.features import TABLE, Feature, Features
from hushwire.services.risk_packs import trusted_keys
from hushwire.sip.errors import ParseError
from hushwire.sip.uri import parse_sip_uri

__all__ = ["Config", "Data", "FeatureCodes", "Listen", "Mail", "PortRange", "bracketed", "checked_stores", "load"]

ENV_PREFIX: Final = "HUSHWIRE_"
DEFAULT_PATHS: Final = (Path("hushwire.toml"), Path("config/hushwire.toml"), Path("/etc/hushwire/hushwire.toml"))

_HOSTNAME: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?", re.ASCII)


def _risk_key(value: str) -> str:
    try:
        trusted_keys([value])
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return value


class Sip(Section):
    listen: Annotated[tuple[SipListen, ...], Field(strict=False, min_length=1)] = (
        Listen(scheme="udp", host="127.0.0.1", port=5060),
        Listen(scheme="tcp", host="127.0.0.1", port=5060),
        Listen(scheme="tls", host="127.0.0.1", port=5061),
    )
    domain: str = "hushwire.localhost"
    default_org: str | None = None
    name_servers: Annotated[tuple[NameServer, ...], Field(strict=False)] = ()
    origins: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    node: NodeAddress | None = None
    proxy: str | None = None
    keepalive_s: Annotated[int, Field(ge=0, le=600)] = 25

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for origin in value or ():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f'"{origin}" is no origin: write scheme, host and port alone, such as "https://phone.example.org"')
        return value

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                is_bare = parse_sip_uri(value).user is None
            except ParseError:
                is_bare = False
            if not is_bare:
                raise ValueError('write a SIP URI without a user, such as "sip:sip.example.org:5061;transport=tls"')
        return value

    @field_validator("listen")
    @classmethod
    def _distinct(cls, value: tuple[Listen, ...]) -> tuple[Listen, ...]:
        # UDP and TCP may share a port; TCP and TLS may not.
        taken: set[tuple[bool, str, int]] = set()
        for item in value:
            if item.scheme == "ws" and not item.is_loopback:
                raise ValueError("ws:// is for loopback addresses only: use wss://")
            place = (item.scheme == "udp", item.host, item.port)
            if item.port and place in taken:
                raise ValueError(f"{item} asks for a port that another entry takes already")
            taken.add(place)
        return value

    @field_validator("domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if len(value) > 190 or not _HOSTNAME.fullmatch(value):
            raise ValueError('use a lower-case host name such as "voice.example.org"')
        return value

    @field_validator("default_org")
    @classmethod
    def _default_org(cls, value: str | None) -> str | None:
        if value is not None and not SLUG.fullmatch(value):
            raise ValueError('use the slug of an organisation such as "acme"')
        return value


class Tls(Section):
    certificate: FilePath | None = None
    key: FilePath | None = None
    trunk_authorities: FilePath | None = None
    trunk_certificate: FilePath | None = None
    trunk_key: FilePath | None = None

    @model_validator(mode="after")
    def _both_towards_trunks(self) -> "Tls":
        if (self.trunk_certificate is None) != (self.trunk_key is None):
            raise ValueError("give trunk_certificate and trunk_key together, or neither (then carriers see no certificate of ours)")
        return self

    @model_validator(mode="after")
    def _both(self) -> "Tls":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give certificate and key together, or neither (then hushwire makes its own)")
        return self


class Media(Section):
    address: Address = "127.0.0.1"
    advertise: Address | None = None
    shared_ports: Ports = None
    ports: Ports = None
    agent_ports: Literal["auto", "shared", "own"] = "auto"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    on_loss: Literal["end", "re-establish"] = "end"

    @model_validator(mode="after")
    def _apart(self) -> "Media":
        one, two = self.shared_ports, self.ports
        if one and two and one.low <= two.high and two.low <= one.high:
            raise ValueError("shared_ports and ports overlap: give them ranges of their own")
        return self


class Api(Section):
    listen: ApiListen = Listen(scheme="https", host="127.0.0.1", port=8443)

    @field_validator("listen")
    @classmethod
    def _clear_text_stays_here(cls, value: Listen) -> Listen:
        if value.scheme == "http" and not value.is_loopback:
            raise ValueError("http:// is for loopback addresses only: use https://")
        return value


class OwnWebhooks(Section):
    """What the operator lets one organisation's webhooks reach beside the public internet."""

    networks: Annotated[tuple[Source, ...], Field(strict=False)] = ()


class Webhooks(Section):
    """Where `transport.outgoing` may lead: HTTP carriers (`networks`), and webhooks of organisations (`orgs`)."""

    orgs: dict[str, OwnWebhooks] = Field(default_factory=dict)
    networks: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], Field(strict=False, min_length=1)] = (443, 8443)
    authorities: FilePath | None = None
    timeout_s: Annotated[int, Field(ge=1, le=30)] = 10

    def inside(self, slug: str) -> tuple[str, ...]:
        """The private networks that an organisation's webhooks may be in: those that are named for it, and no other's."""
        found = self.orgs.get(slug)
        return () if found is None else found.networks


class Run(Section):
    user: Annotated[str, Field(min_length=1)] = "nobody"
    log: Literal["auto", "console", "json"] = "auto"


class Limits(Section):
    calls: Annotated[int, Field(ge=1, le=100_000)] = 2000
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    connections_per_source: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    silent_per_source: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    message_bytes: Annotated[int, Field(ge=4096, le=65_535)] = 65_535
    idle_s: Annotated[int, Field(ge=10, le=86_400)] = 600
    requests_per_second: Annotated[int, Field(ge=1, le=100_000)] = 200
    drain_s: Annotated[int, Field(ge=0, le=86_400)] = 60
    requests_per_second_per_credential: Annotated[int, Field(ge=1, le=10_000)] = 20
    failures: Annotated[int, Field(ge=3, le=10_000)] = 20
    failures_within_s: Annotated[int, Field(ge=10, le=86_400)] = 600
    ban_s: Annotated[int, Field(ge=10, le=366 * 86_400)] = 3600
    never_ban: Annotated[tuple[Source, ...], Field(strict=False)] = ("127.0.0.0/8", "::1")
    scanners: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    devices_per_agent_alarm: Annotated[int, Field(ge=1, le=9)] = 3
    subscriptions: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    subscriptions_per_org: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    subscriptions_per_credential: Annotated[int, Field(ge=0, le=10_000)] = 200
    texts_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 60
    rules_age_s: Annotated[int, Field(ge=60, le=7 * 86_400)] = 3600


class RiskPackSettings(Section):
    """Packs of high-risk ranges (docs/voice-security.md)."""

    folder: FilePath | None = None
    keys: Annotated[tuple[Annotated[str, AfterValidator(_risk_key)], ...], Field(strict=False)] = ()


def _code(feature: Feature) -> str:
    return TABLE[feature].code


class FeatureCodes(Section):
    """What agents dial to have something done (services/features.py); an empty code switches its feature off."""

    echo: str = _code(Feature.ECHO)
    mailbox: str = _code(Feature.MAILBOX)
    greeting: str = _code(Feature.GREETING)
    leave_message: str = _code(Feature.LEAVE_MESSAGE)
    conference: str = _code(Feature.CONFERENCE)
    hide_caller: str = _code(Feature.HIDE_CALLER)
    show_caller: str = _code(Feature.SHOW_CALLER)
    forward_always: str = _code(Feature.FORWARD_ALWAYS)
    forward_always_off: str = _code(Feature.FORWARD_ALWAYS_OFF)
    forward_busy: str = _code(Feature.FORWARD_BUSY)
    forward_busy_off: str = _code(Feature.FORWARD_BUSY_OFF)
    forward_no_answer: str = _code(Feature.FORWARD_NO_ANSWER)
    forward_no_answer_off: str = _code(Feature.FORWARD_NO_ANSWER_OFF)
    do_not_disturb: str = _code(Feature.DO_NOT_DISTURB)
    do_not_disturb_off: str = _code(Feature.DO_NOT_DISTURB_OFF)
    call_waiting: str = _code(Feature.CALL_WAITING)
    call_waiting_off: str = _code(Feature.CALL_WAITING_OFF)
    park: str = _code(Feature.PARK)
    ask_access: str = _code(Feature.ASK_ACCESS)
    park_slot: str = _code(Feature.PARK_SLOT)
    pickup: str = _code(Feature.PICKUP)
    transfer_by_keys: str = Field(default="", pattern=r"^(\*[0-9*]{1,4})?$")
    """Keyed in a call, and a number and # behind it: transfers the other party there."""

    @model_validator(mode="after")
    def _clear(self) -> "FeatureCodes":
        self.table()
        return self

    def table(self) -> Features:
        """The codes of the deployment."""
        return Features({feature: getattr(self, feature) for feature in Feature})


class Config(Section):
    """The whole configuration of one deployment."""

    data: Data
    sip: Sip = Sip()
    tls: Tls = Tls()
    media: Media = Media()
    api: Api = Api()
    database: Database = Database()
    keyring: Keyring = Keyring()
    zone2: Zone2 = Zone2()
    store: Store = Store()
    backup: Backup = Backup()
    keys: Keys = Keys()
    mail: Mail = Mail()
    sounds: Sounds = Sounds()
    shaken: Shaken = Shaken()
    webhooks: Webhooks = Webhooks()
    voicemail: Voicemail = Voicemail()
    run: Run = Run()
    limits: Limits = Limits()
    features: FeatureCodes = FeatureCodes()
    risk_packs: RiskPackSettings = RiskPackSettings()
    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """The file that the configuration was read from, if any: children are started with the same one."""
        return self._source

    @property
    def is_embedded(self) -> bool:
        """True when at least one of the two databases is the embedded server."""
        return self.database.dsn is None or self.keyring.dsn is None

    def to_environment(self) -> dict[str, str]:
        """The variables that give exactly this configuration without any file: what the supervisor's children are started with."""
        variables = {f"{ENV_PREFIX}CONFIG": ""}
        for section, table in self.model_dump(mode="json", exclude_none=True).items():
            for key, value in table.items():
                variables[f"{ENV_PREFIX}{section}__{key}".upper()] = orjson.dumps(value).decode()
        return variables

    @property
    def risk_pack_folder(self) -> Path:
        """Where packs of high-risk ranges are looked for, beside those that ship."""
        return self.risk_packs.folder or self.data.dir / "risk-packs"

    def phone_proxy(self) -> str:
        """The SIP URI at which phones reach the deployment: `[sip] proxy`, else the first TLS listener, else the first one."""
        if self.sip.proxy is not None:
            return self.sip.proxy
        listen = next((item for item in self.sip.listen if item.scheme == "tls"), self.sip.listen[0])
        host = self.sip.domain if listen.host in ("0.0.0.0", "::") else bracketed(listen.host)
        scheme = {"ws": "tcp", "wss": "tls"}.get(listen.scheme, listen.scheme)
        return f"sip:{host}{f':{listen.port}' if listen.port else ''};transport={scheme}"

    def web_origins(self) -> tuple[str, ...]:
        """Pages that may connect by WebSocket: `[sip] origins`, else our own, by the API's address and by the SIP domain's name."""
        if self.sip.origins is not None:
            return self.sip.origins
        api, default = self.api.listen, {"http": 80, "https": 443}[self.api.listen.scheme]
        own = f"{api.scheme}://{bracketed(api.host)}"
        return (own if api.port == default else f"{own}:{api.port}", f"https://{self.sip.domain}")

    def copy_urls(self) -> dict[str, str]:
        """Region -> URL of the store of copies; none where there is no second zone and none was named."""
        if self.backup.objects or self.zone2.dir is None:
            return dict(self.backup.objects)
        folder = self.zone2.dir / "objects"
        return {region: (folder if region == "*" else folder / region).as_uri() for region in self.store_urls()}

    def store_urls(self) -> dict[str, str]:
        """Region -> object store URL. Without configured regions, `*` is one local store that serves every residency."""
        return dict(self.store.regions) or {"*": (self.data.dir / "store").as_uri()}


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of `path` and the environment.

    Without `path`: the file that `HUSHWIRE_CONFIG` names (empty: none), else the first of DEFAULT_PATHS that exists.

    Raises ConfigError with one line per mistake: file or variable, key, what is wrong and the mend.
    """
    path = _choose(path, environ)
    tree: dict[str, Any] = _read(path) if path else {}
    origins: dict[tuple[str, ...], str] = {}
    problems = _overlay(tree, origins, environ)
    where = str(path) if path else "configuration"
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [_sentence(where, origins, problem) for problem in error.errors(include_url=False, include_input=False)]
    if problems:
        raise ConfigError("\n".join(problems))
    return _absolute(config, path, origins)


def _choose(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = environ.get(f"{ENV_PREFIX}CONFIG")
    if path is None and named == "":
        return None
    if path is None and named:
        path = Path(named)
    if path is not None:
        return path.absolute()
    return next((candidate.absolute() for candidate in DEFAULT_PATHS if candidate.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file: copy config/hushwire.toml there, or name another with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({_reason(error)})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _reason(error: Exception) -> str:
    return (error.strerror or "unreadable") if isinstance(error, OSError) else "not UTF-8"


def _overlay(tree: dict[str, Any], origins: dict[tuple[str, ...], str], environ: Mapping[str, str]) -> list[str]:
    """Lay `HUSHWIRE_<SECTION>__<KEY>` over the tree. Lists, tables, numbers and booleans are written as JSON."""
    problems = []
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or "__" not in name:
            continue
        section, *keys = name.removeprefix(ENV_PREFIX).lower().split("__")
        node = tree.setdefault(section, {})
        for key in keys[:-1]:
            node = node.setdefault(key, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            problems.append(f"{name}: [{section}] is not a table in the file: mend the file first")
            continue
        node[keys[-1]] = _from_environment(environ[name])
        origins[(section, *keys)] = name
    return problems


def _from_environment(text: str) -> object:
    """Lists, tables, numbers, booleans and quoted strings in JSON; all else is the string itself."""
    if text[:1] in ("[", "{", '"') or text in ("true", "false") or re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        try:
            value: object = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        return value
    return text


def _sentence(where: str, origins: Mapping[tuple[str, ...], str], problem: Any) -> str:
    """`file: [section] key: what is wrong` for one of pydantic's findings."""
    location = tuple(str(part) for part in problem["loc"] if part not in ("tuple", "PortRange"))
    source = next((origins[location[:n]] for n in range(len(location), 0, -1) if location[:n] in origins), None)
    if source is None and location and problem["type"] == "extra_forbidden":
        source = next((name for key, name in origins.items() if key[: len(location)] == location), None)
    source = source or where
    section, keys = location[0] if location else "", ".".join(location[1:])
    name = f"[{section}] {keys}".strip() if section else "the file"
    return f"{source}: {name}: {words(problem)}"


def _absolute(config: Config, path: Path | None, origins: Mapping[tuple[str, ...], str]) -> Config:
    def settle(value: Path, *key: str) -> Path:
        base = Path.cwd() if path is None or key in origins else path.parent
        return Path(os.path.normpath(base / value.expanduser()))

    update: dict[str, Any] = {"data": config.data.model_copy(update={"dir": settle(config.data.dir, "data", "dir")})}
    if config.zone2.dir is not None:
        zone2 = settle(config.zone2.dir, "zone2", "dir")
        data = update["data"].dir
        if zone2 == data or zone2.is_relative_to(data) or data.is_relative_to(zone2):
            source = origins.get(("zone2", "dir")) or (str(path) if path else "configuration")
            raise ConfigError(f"{source}: [zone2] dir: must lie outside [data] dir, on a disk that does not fail with it")
        update["zone2"] = Zone2(dir=zone2)
    if config.backup.programs is not None:
        programs = settle(config.backup.programs, "backup", "programs")
        update["backup"] = config.backup.model_copy(update={"programs": programs})
    if config.risk_packs.folder is not None:
        folder = settle(config.risk_packs.folder, "risk_packs", "folder")
        update["risk_packs"] = config.risk_packs.model_copy(update={"folder": folder})
    tls = config.tls
    named = {"certificate": tls.certificate, "key": tls.key, "trunk_authorities": tls.trunk_authorities}
    named |= {"trunk_certificate": tls.trunk_certificate, "trunk_key": tls.trunk_key}
    update["tls"] = tls.model_copy(update={name: settle(path, "tls", name) for name, path in named.items() if path is not None})
    if config.mail.authorities is not None:
        update["mail"] = config.mail.model_copy(update={"authorities": settle(config.mail.authorities, "mail", "authorities")})
    if config.webhooks.authorities is not None:
        authorities = settle(config.webhooks.authorities, "webhooks", "authorities")
        update["webhooks"] = config.webhooks.model_copy(update={"authorities": authorities})
    sounds = config.sounds
    orgs = {slug: own.model_copy(update=own.settled(lambda path: settle(path, "sounds", "orgs"))) for slug, own in sounds.orgs.items()}
    update["sounds"] = sounds.model_copy(update=sounds.settled(lambda path: settle(path, "sounds")) | {"orgs": orgs})
    shaken = {name: settle(path, "shaken", name) for name, path in config.shaken.files().items()}
    update["shaken"] = config.shaken.model_copy(update=shaken)
    settled = config.model_copy(update=update)
    settled._source = path
    return settled
