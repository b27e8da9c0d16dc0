"""What the parties' agreement is carried out with, wired together once for every process that needs it."""

from dataclasses import dataclass

from hushwire.core.clock import Clock, Random
from hushwire.services.cases import Cases
from hushwire.services.clocks import Clocks
from hushwire.services.erasure import Erasures
from hushwire.services.instructions import Instructions
from hushwire.services.notices import Notices
from hushwire.services.subprocessors import Subprocessors
from hushwire.services.termination import Terminations
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Agreement:
    """One process's services for the agreement."""

    subprocessors: Subprocessors
    instructions: Instructions
    cases: Cases
    terminations: Terminations

    @classmethod
    def of(
        cls, main: Database, keyring: Keyring, erasures: Erasures, clocks: Clocks, notices: Notices, clock: Clock, random: Random
    ) -> "Agreement":
        """On one deployment's databases."""
        return cls(
            Subprocessors(main, keyring, clocks, notices, clock, random),
            Instructions(main, keyring, clock, random),
            Cases(main, keyring, clocks, notices, clock, random),
            Terminations(main, erasures, clocks, notices, clock, random),
        )
