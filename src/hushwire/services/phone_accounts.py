"""What a phone is told so that it can register: as Linphone's XML, and as a sheet that a person types from. Pure."""

from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from hushwire.sip.uri import SipUri, escape_user

_NAMESPACE: Final = "http://www.linphone.org/xsds/lpconfig.xsd"
_INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"
EXPIRES_S: Final = 600


@dataclass(frozen=True, slots=True)
class PhoneAccount:
    """One device's account. `proxy` is where phones reach the deployment; `needs_srtp`: media in clear is refused."""

    username: str = field(repr=False)
    domain: str
    realm: str
    login: str
    password: str = field(repr=False)
    proxy: SipUri
    needs_srtp: bool

    @property
    def address(self) -> str:
        """The address of record."""
        return str(SipUri(self.domain, escape_user(self.username)))

    @property
    def transport(self) -> str:
        """How the proxy is reached, as phones name it."""
        return "tls" if self.proxy.secure else self.proxy.transport or "udp"


def linphone(account: PhoneAccount) -> str:
    """A remote provisioning document (lpconfig): one account, which replaces the first one, and what protects its media."""
    is_protected = account.transport == "tls"
    proxy = f"<{account.proxy}>"
    sections: dict[str, dict[str, str]] = {
        # The link serves once: Linphone would ask for it again at each start.
        "misc": {"config-uri": ""},
        "sip": {
            "default_proxy": "0",
            # Keys in SDP only where the signalling is protected: else a handshake.
            "media_encryption": "srtp" if is_protected else "dtls",
            "media_encryption_mandatory": "1" if account.needs_srtp else "0",
        },
        "proxy_0": {
            "reg_proxy": proxy,
            "reg_route": proxy,
            "reg_identity": f"<{account.address}>",
            "realm": account.realm,
            "reg_expires": str(EXPIRES_S),
            "reg_sendregister": "1",
            "publish": "0",
        },
        "auth_info_0": {
            "username": account.username,
            "userid": account.login,
            "passwd": account.password,
            "realm": account.realm,
            "domain": account.domain,
            "algorithm": "SHA-256",
        },
    }
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<config xmlns="{_NAMESPACE}" xmlns:xsi="{_INSTANCE}" xsi:schemaLocation="{_NAMESPACE} lpconfig.xsd">',
    ]
    for name, entries in sections.items():
        lines.append(f'  <section name="{name}">')
        lines += [f'    <entry name="{key}" overwrite="true">{escape(value)}</entry>' for key, value in entries.items()]
        lines.append("  </section>")
    return "\n".join([*lines, "</config>", ""])


def sheet(account: PhoneAccount) -> str:
    """What a person enters into any SIP phone, line by line."""
    port = account.proxy.port
    lines = {
        "SIP address": account.address,
        "User name": account.username,
        "Domain": account.domain,
        "Authentication name": account.login,
        "Password": account.password,
        "Realm": account.realm,
        "Outbound proxy": f"{account.proxy.host}{f':{port}' if port else ''}",
        "Transport": account.transport.upper(),
        "Register every": f"{EXPIRES_S} s",
        "Media encryption": ("SRTP" if account.transport == "tls" else "DTLS-SRTP") + (", mandatory" if account.needs_srtp else ""),
    }
    width = max(len(name) for name in lines) + 2
    return "".join(f"{name + ':':<{width}}{value}\n" for name, value in lines.items())
