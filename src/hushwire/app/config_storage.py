"""The sections on what is kept, and where: databases, object stores, keys, backups; and the mail server that notices leave by."""

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from hushwire.app.config_values import Dsn, FilePath, Section
from hushwire.privacy import mail

_REGION: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


class Data(Section):
    dir: FilePath
    region: str = "eu"

    @field_validator("region")
    @classmethod
    def _region(cls, value: str) -> str:
        if not _REGION.fullmatch(value):
            raise ValueError('use a short lower-case name such as "eu"')
        return value


class Database(Section):
    dsn: Dsn | None = None


class Keyring(Section):
    dsn: Dsn | None = None


class Zone2(Section):
    dir: FilePath | None = None


def checked_stores(value: dict[str, str]) -> dict[str, str]:
    """Region -> URL of an object store. Raises ValueError, saying how to write it."""
    for name, url in value.items():
        if not _REGION.fullmatch(name):
            raise ValueError(f'"{name}" is no region: use a short lower-case name such as "eu"')
        parts = urlsplit(url)
        if not ((parts.scheme == "file" and parts.path.startswith("/")) or (parts.scheme == "s3" and len(parts.netloc) >= 3)):
            raise ValueError(f'write region {name} as "file:///folder" or "s3://bucket/prefix"')
    return value


class Store(Section):
    regions: dict[str, str] = Field(default_factory=dict)

    @field_validator("regions")
    @classmethod
    def _urls(cls, value: dict[str, str]) -> dict[str, str]:
        return checked_stores(value)


class Backup(Section):
    every_h: Annotated[int, Field(ge=0, le=24 * 31)] = 24
    keep: Annotated[int, Field(ge=1, le=10_000)] = 14
    programs: FilePath | None = None
    objects: dict[str, str] = Field(default_factory=dict)

    @field_validator("objects")
    @classmethod
    def _urls(cls, value: dict[str, str]) -> dict[str, str]:
        return checked_stores(value)


class Keys(Section):
    provider: Literal["file", "environment"] = "file"


class Mail(Section):
    smtp: str | None = Field(default=None, repr=False)
    password: str | None = Field(default=None, repr=False, min_length=1, max_length=1024)
    sender: str | None = None
    authorities: FilePath | None = None

    @field_validator("smtp")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parts = urlsplit(value)
                port = parts.port
            except ValueError:
                port = 0
            if port == 0 or parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path not in ("", "/") or parts.query:
                raise ValueError('write it as "smtps://user@mail.example.org:465" (or smtp:// for STARTTLS)')
        return value

    @field_validator("sender")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else mail.address(value)
