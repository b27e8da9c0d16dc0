"""What this deployment's configuration says of protection, for the agreement's live state and Annex II."""

from datetime import datetime, timedelta

from hushwire.app.backup import place_of
from hushwire.app.config import Config
from hushwire.services.dpa import Posture


def posture(config: Config) -> Posture:
    """Read from the configuration as it is in force; looking for backups is left to whoever asks."""

    def newest_backup() -> datetime | None:
        return max((found.made_at for found in place_of(config, None).found()), default=None)

    return Posture(
        transports={
            "HTTP API": "TLS 1.2 or newer" if config.api.listen.scheme == "https" else "this machine only, in clear",
            **{f"SIP by {listen.scheme}": _sip(listen.scheme) for listen in config.sip.listen},
            "databases": "unix sockets of this machine, SCRAM" if config.is_embedded else "as the servers' addresses say",
            "object stores": ", ".join(sorted({_store(url) for url in config.store_urls().values()})),
            "e-mail": "TLS with a verified certificate" if config.mail.smtp else "not configured",
        },
        regions=tuple(sorted(config.store_urls())),
        key_provider=config.keys.provider,
        has_second_zone=config.zone2.dir is not None,
        has_mail=config.mail.smtp is not None,
        backup_every=timedelta(hours=config.backup.every_h),
        newest_backup=newest_backup,
    )


def _sip(scheme: str) -> str:
    return "TLS 1.2 or newer" if scheme == "tls" else "in clear: signalling only, keys of calls are refused here"


def _store(url: str) -> str:
    return "a folder of this machine" if url.startswith("file:") else "S3 over TLS"
