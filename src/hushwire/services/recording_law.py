"""Whether a call is recorded, and whether it may be made at all, by the law of the places where its parties may be."""

import re
from collections.abc import Sequence
from typing import Final

from hushwire.core.personal import Personal
from hushwire.policy import numbers
from hushwire.privacy.consent import Places
from hushwire.services.snapshot import Organisation

_GLOBAL: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)


def is_recorded(org: Organisation, remote: Personal[str] | None, places: Places) -> bool:
    """Whether a call with this number is recorded. Who objected goes before the organisation's setting: the call is made, unrecorded."""
    return org.record == "all" and org.may_record(places) and not is_unrecorded(org, remote)


def is_emergency_recorded(org: Organisation) -> bool:
    """Whether calls to emergency numbers are recorded: never, unless the law of the home country says so and the organisation is set so."""
    return org.record == "all" and org.record_emergency


def lacks_consent(org: Organisation, numbers_: Sequence[Personal[str] | None], places: Places) -> bool:
    """Whether a call must not be made, since it would have to be recorded and the law asks for a consent that nobody declares.

    `numbers_` are those of the parties outside the organisation, `places` where these may be.

    Where the organisation lets calls go unrecorded they are made so; calls with who objected are made in any case.
    """
    must_be_recorded = org.record == "all" and not org.calls_without_recording
    return must_be_recorded and not org.may_record(places) and not any(is_unrecorded(org, number) for number in numbers_)


def places_of(org: Organisation, remote: Personal[str] | None) -> Places:
    """Where a caller may be, by the number that the carrier shows; unknown where it is withheld or no plan knows it."""
    text = None if remote is None else remote.reveal()
    if text is None or not _GLOBAL.fullmatch(text):
        return (None,)
    found = numbers.international(text[1:], org.rules.home_country)
    return found.territories or (None,) if isinstance(found, numbers.Found) else (None,)


def is_unrecorded(org: Organisation, remote: Personal[str] | None) -> bool:
    """Whether this number is never recorded: its owner objected, or is a minor. One look-up, however many there are."""
    return bool(org.unrecorded) and remote is not None and org.keys.index("calls.remote", remote.reveal()) in org.unrecorded
