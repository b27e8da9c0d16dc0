"""What a status of a message centre means for a message, and how a carrier's own statuses are read (SMPP 3.4 section 5.1.3)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hushwire.sms.smpp.codes import Status


class Meaning(StrEnum):
    """What to do with a message that was refused."""

    BUSY = "busy"  # the centre has enough for now: pause, then the same message again
    LATER = "later"  # this message not now: again after a while, others meanwhile
    REFUSED = "refused"  # never: it failed


_KNOWN: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        Status.ESME_RTHROTTLED: Meaning.BUSY,
        Status.ESME_RMSGQFUL: Meaning.BUSY,
        Status.ESME_RSYSERR: Meaning.LATER,
        Status.ESME_RSUBMITFAIL: Meaning.LATER,
        Status.ESME_RX_T_APPN: Meaning.LATER,
        Status.ESME_RDELIVERYFAILURE: Meaning.LATER,
        Status.ESME_RUNKNOWNERR: Meaning.LATER,
        Status.ESME_RINVBNDSTS: Meaning.LATER,
    }
)


def meaning(status: int, own: Mapping[int, Meaning] = MappingProxyType({})) -> Meaning:
    """What `status` (not ESME_ROK) means; `own` are a carrier's own statuses, and what it means by others. All else is final."""
    return own.get(status) or _KNOWN.get(status, Meaning.REFUSED)
