"""Breach cases, wired: api, worker and the command line have them alike."""

from hushwire.core.clock import Clock, Random
from hushwire.services.breach_notices import BreachNotices
from hushwire.services.breaches import Breaches
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring


def made_breaches(main: Database, keyring: Keyring, clock: Clock, random: Random) -> Breaches:
    """Breach cases, with their clocks and notices."""
    clocks = Clocks(clock, random)
    return Breaches(main, keyring, clocks, BreachNotices(Notices(main, keyring, clocks, clock, random)), clock, random)
