"""What `hushwire doctor` finds about signed caller numbers: files that end soon, and trunks that ask for what nobody set up."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from hushwire.app import shaken
from hushwire.app.config import Config
from hushwire.core.errors import ConfigError
from hushwire.store.listing import TrunkRow

_SOON: Final = timedelta(days=14)


def files_in_words(config: Config, now: datetime) -> str:
    """One sentence, or ConfigError with what to do."""
    found = config.shaken.files()
    if not found:
        return "not used"
    key, roots = shaken.signing_key(config), shaken.trusted(config)
    shaken.revoked(config)
    ending = []
    for name in ("certificate", "authorities"):
        if name in found:
            last = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(found[name].read_bytes()))
            if last < now + _SOON:
                ending.append(f"{name} has one that ends on {last:%Y-%m-%d}")
    if "revoked" in found:
        data = found["revoked"].read_bytes()
        listed = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
        if listed.next_update_utc is not None and listed.next_update_utc < now:
            ending.append(f"revoked should have been replaced on {listed.next_update_utc:%Y-%m-%d}")
    if ending:
        raise ConfigError(f"[shaken] {'; '.join(ending)}: renew it, and restart the gateways")
    signs = "calls can be signed" if key is not None else "nothing is signed"
    return f"{signs}; {len(roots)} authorities are believed" if roots else f"{signs}; nobody is believed"


def trunks_in_words(trunks: Iterable[TrunkRow], config: Config) -> str:
    """One sentence, or ConfigError with which trunks ask for what is not configured."""
    known = list(trunks)
    signing, verifying = [trunk.name for trunk in known if trunk.signs], [trunk.name for trunk in known if trunk.verify != "off"]
    if signing and config.shaken.key is None:
        raise ConfigError(f"{', '.join(signing)}: ask for signed callers, and there is no [shaken] key")
    if verifying and config.shaken.authorities is None:
        raise ConfigError(f"{', '.join(verifying)}: callers are to be verified, and nobody is believed: set [shaken] authorities")
    return f"{len(signing)} signed, {len(verifying)} verified, of {len(known)}"
