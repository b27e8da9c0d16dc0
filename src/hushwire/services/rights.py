"""What people's rights are carried out with, wired together once for every process that needs it."""

from dataclasses import dataclass

from hushwire.core.clock import Clock, Random
from hushwire.services.agents import Agents
from hushwire.services.clocks import Clocks
from hushwire.services.contacts import Contacts
from hushwire.services.data_subject_notices import DataSubjectNotices
from hushwire.services.erasure import Erasures
from hushwire.services.exports import Exports
from hushwire.services.know import Knowing
from hushwire.services.notices import Notices
from hushwire.services.request_execution import Execution
from hushwire.services.requests import Requests
from hushwire.services.restrictions import Restrictions
from hushwire.store.database import Database
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Rights:
    """One process's services for the rights of data subjects."""

    agents: Agents
    contacts: Contacts
    restrictions: Restrictions
    requests: Requests
    execution: Execution
    exports: Exports

    @classmethod
    def of(cls, main: Database, keyring: Keyring, erasures: Erasures, blobs: Blobs, clock: Clock, random: Random) -> "Rights":
        """On one deployment's databases."""
        agents = Agents(main, keyring, clock)
        contacts = Contacts(main, keyring, clock, random)
        restrictions = Restrictions(main, keyring, clock, random)
        notices = Notices(main, keyring, Clocks(clock, random), clock, random)
        requests = Requests(main, keyring, DataSubjectNotices(notices), clock, random)
        knowing = Knowing(main, clock)
        execution = Execution(main, keyring, requests, contacts, agents, restrictions, knowing, erasures, clock, random)
        return cls(agents, contacts, restrictions, requests, execution, Exports(main, keyring, blobs, clock, random))
