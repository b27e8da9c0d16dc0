"""Breach cases and audits, wired: api, worker and the command line have them alike."""

from hushwire.core.clock import Clock, Random
from hushwire.services.annexes import Annexes
from hushwire.services.audit_exports import AuditExports
from hushwire.services.audits import Audits
from hushwire.services.breach_notices import BreachNotices
from hushwire.services.breaches import Breaches
from hushwire.services.clocks import Clocks
from hushwire.services.dpa import Dpa
from hushwire.services.notices import Notices
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring


def made_audits(main: Database, keyring: Keyring, dpa: Dpa, clock: Clock, random: Random) -> Audits:
    """Audits, with their clocks, notices and evidence."""
    clocks = Clocks(clock, random)
    notices, exports = Notices(main, keyring, clocks, clock, random), AuditExports(main, keyring, clock)
    return Audits(main, keyring, exports, dpa, Annexes(main, dpa, clock), clocks, notices, clock, random)


def made_breaches(main: Database, keyring: Keyring, clock: Clock, random: Random) -> Breaches:
    """Breach cases, with their clocks and notices."""
    clocks = Clocks(clock, random)
    return Breaches(main, keyring, clocks, BreachNotices(Notices(main, keyring, clocks, clock, random)), clock, random)
