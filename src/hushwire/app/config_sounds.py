"""The sections on what callers hear and are told: sounds, voicemail, signed numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, field_validator, model_validator

from hushwire.app.config_values import SLUG, FilePath, Section, Source
from hushwire.calls.voicemail import Lengths
from hushwire.policy.model import Reason
from hushwire.services.greeting_uploads import Bounds
from hushwire.services.sound_library import PARK_WORDS, VOICEMAIL_WORDS, SoundFiles
from hushwire.sip.shaken import is_https

_REFUSALS: Final = frozenset({"default", *(reason.value for reason in Reason)})


class OwnSounds(Section):
    ringback: FilePath | None = None
    music_on_hold: FilePath | None = None
    announcement: FilePath | None = None
    beep: FilePath | None = None
    refusals: dict[str, FilePath] = Field(default_factory=dict)
    greetings: dict[str, FilePath] = Field(default_factory=dict)
    voicemail: dict[str, FilePath] = Field(default_factory=dict)
    park: dict[str, FilePath] = Field(default_factory=dict)

    @field_validator("park")
    @classmethod
    def _slots(cls, value: dict[str, Path]) -> dict[str, Path]:
        for name in value:
            if name not in PARK_WORDS:
                raise ValueError(f'"{name}" is no word of a slot: use one of {", ".join(PARK_WORDS)}')
        return value

    @field_validator("voicemail")
    @classmethod
    def _said(cls, value: dict[str, Path]) -> dict[str, Path]:
        for name in value:
            if name not in VOICEMAIL_WORDS:
                raise ValueError(f'"{name}" is nothing that voicemail says: use one of {", ".join(sorted(VOICEMAIL_WORDS))}')
        return value

    @field_validator("refusals")
    @classmethod
    def _reasons(cls, value: dict[str, Path]) -> dict[str, Path]:
        for reason in value:
            if reason not in _REFUSALS:
                raise ValueError(f'"{reason}" is no reason of a refusal: use one of {", ".join(sorted(_REFUSALS))}')
        return value

    def settled(self, settle: Callable[[Path], Path]) -> dict[str, Any]:
        """What changes where every path is made absolute."""
        named = {name: getattr(self, name) for name in ("ringback", "music_on_hold", "announcement", "beep")}
        update: dict[str, Any] = {name: settle(path) for name, path in named.items() if path is not None}
        tables = {name: getattr(self, name) for name in ("refusals", "greetings", "voicemail", "park")}
        return update | {name: {key: settle(path) for key, path in table.items()} for name, table in tables.items()}

    def files(self) -> SoundFiles:
        """As the gateway takes them."""
        by_name = (self.refusals, self.greetings, self.voicemail, self.park)
        return SoundFiles(self.ringback, self.music_on_hold, self.announcement, self.beep, *by_name)


class Sounds(OwnSounds):
    orgs: dict[str, OwnSounds] = Field(default_factory=dict)

    @field_validator("orgs")
    @classmethod
    def _slugs(cls, value: dict[str, OwnSounds]) -> dict[str, OwnSounds]:
        for slug in value:
            if not SLUG.fullmatch(slug):
                raise ValueError(f'"{slug}" is no slug of an organisation such as "acme"')
        return value

    def paths(self) -> list[Path]:
        """Every file that is named."""
        return [path for sounds in (self, *self.orgs.values()) for path in sounds.files()]


class Shaken(Section):
    key: FilePath | None = None
    certificate: FilePath | None = None
    certificate_url: str | None = None
    authorities: FilePath | None = None
    revoked: FilePath | None = None
    repositories: FilePath | None = None
    networks: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], Field(strict=False, min_length=1)] = (443, 8443)
    wait_ms: Annotated[int, Field(ge=0, le=5000)] = 500
    fresh_s: Annotated[int, Field(ge=5, le=600)] = 60

    def files(self) -> dict[str, Path]:
        """Every file that is named, by its key."""
        named = {name: getattr(self, name) for name in ("key", "certificate", "authorities", "revoked", "repositories")}
        return {name: path for name, path in named.items() if path is not None}

    @field_validator("certificate_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value is not None and not is_https(value):
            raise ValueError('write it as "https://cert.example.org/shaken.pem"')
        return value

    @model_validator(mode="after")
    def _whole(self) -> "Shaken":
        if len({self.key is None, self.certificate is None, self.certificate_url is None}) > 1:
            raise ValueError("give key, certificate and certificate_url together, or none of them (then nothing is signed)")
        return self


class GreetingBounds(Section):
    greeting_s: Annotated[int, Field(ge=1, le=300)] | None = None
    greeting_kib: Annotated[int, Field(ge=16, le=16 << 10)] | None = None


class Voicemail(Section):
    longest_s: Annotated[int, Field(ge=5, le=3600)] = 180
    silence_s: Annotated[int, Field(ge=2, le=60)] = 6
    least_s: Annotated[int, Field(ge=0, le=60)] = 1
    messages: Annotated[int, Field(ge=1, le=10_000)] = 200
    greeting_s: Annotated[int, Field(ge=1, le=300)] = 60
    greeting_kib: Annotated[int, Field(ge=16, le=16 << 10)] = 10 << 10
    orgs: dict[str, GreetingBounds] = Field(default_factory=dict)

    def greeting_bounds(self, slug: str) -> Bounds:
        """Of the greetings that an organisation may give as files."""
        own = self.orgs.get(slug, GreetingBounds())
        return Bounds(own.greeting_s or self.greeting_s, (own.greeting_kib or self.greeting_kib) << 10)

    def lengths(self) -> Lengths:
        """As the gateway takes them."""
        return Lengths(float(self.longest_s), float(self.silence_s), float(self.least_s))
