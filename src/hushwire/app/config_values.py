"""Values that stand in several sections of the configuration: addresses, ports, paths, and how each is written."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_serializer

SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class Section(BaseModel):
    """A table of the file: frozen, and a key that it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class Listen(Section):
    """One listening address. Port 0 asks for any free one."""

    scheme: Literal["udp", "tcp", "tls", "ws", "wss", "http", "https"]
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True for addresses that only this machine reaches."""
        return ipaddress.ip_address(self.host).is_loopback

    @model_serializer
    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


class PortRange(Section):
    """UDP ports from `low` to `high`, both included."""

    low: int
    high: int

    @model_serializer
    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


def bracketed(host: str) -> str:
    """The address as it stands in a URI: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _listen(value: object, schemes: tuple[str, ...], example: str) -> object:
    if isinstance(value, Listen):
        return value
    if not isinstance(value, str):
        raise ValueError(f'must be a string such as "{example}"')
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname or ""
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f'write it as "{example}" (an IP address and a port from 0 to 65535)') from None
    if parts.scheme not in schemes or port is None or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f'write it as "{example}", beginning with one of {", ".join(schemes)}')
    return {"scheme": parts.scheme, "host": host, "port": port}


def _ports(value: object) -> object:
    if value in (0, "0", ""):
        return None
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value, re.ASCII)
    if match is None:
        raise ValueError('write it as "20100-29999", or 0 for any free port')
    low, high = int(match[1]), int(match[2])
    if not 1024 <= low < high <= 65535:
        raise ValueError("give two ports between 1024 and 65535, the lower one first")
    return {"low": low, "high": high}


def _address(value: object) -> object:
    if isinstance(value, str):
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError('write an IP address such as "192.0.2.10"') from None
    return value


def _name_server(value: str) -> str:
    parts = urlsplit(f"//{value}")
    try:
        ipaddress.ip_address(parts.hostname or "")
        port = parts.port or 53
    except ValueError:
        port = 0
    if not port or parts.path or parts.username is not None:
        raise ValueError('write it as "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]"')
    return value


def _dsn(value: object) -> object:
    if isinstance(value, str) and urlsplit(value).scheme not in ("postgresql", "postgres"):
        raise ValueError('write it as "postgresql://user@host/database", or leave it out for the embedded server')
    return value


def _source(value: object) -> object:
    if isinstance(value, str):
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError('write an IP address or network such as "192.0.2.0/24"') from None
    return value


Dsn = Annotated[str, BeforeValidator(_dsn)]
NodeAddress = Annotated[Listen, BeforeValidator(lambda v: _listen(v, ("udp", "tcp", "tls"), "tls://10.0.0.5:5061"))]
SipListen = Annotated[Listen, BeforeValidator(lambda v: _listen(v, ("udp", "tcp", "tls", "ws", "wss"), "tls://127.0.0.1:5061"))]
ApiListen = Annotated[Listen, BeforeValidator(lambda v: _listen(v, ("http", "https"), "https://127.0.0.1:8443"))]
Ports = Annotated[PortRange | None, BeforeValidator(_ports)]
Source = Annotated[str, BeforeValidator(_source)]
Address = Annotated[str, BeforeValidator(_address)]
NameServer = Annotated[str, AfterValidator(_name_server)]
FilePath = Annotated[Path, Field(strict=False)]
