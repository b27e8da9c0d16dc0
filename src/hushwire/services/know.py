"""The report of clause 3.1: what is held of a person, where it comes from, why, who receives such data, and who actually received it.

Made anew each time it is asked for, from the inventory, the rows and the disclosure log, and stored nowhere.
"""

from typing import Any, Final

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import know
from hushwire.store import requests, subject
from hushwire.store.database import Database
from hushwire.store.requests import RequestRow

MOST: Final = 1000


class Knowing:
    """Makes reports."""

    def __init__(self, main: Database, clock: Clock) -> None:
        self._main = main
        self._clock = clock

    async def report(self, org_id: OrgId, request: RequestRow) -> dict[str, Any]:
        """The report as JSON: counts, categories, recipients, disclosures. It holds no content, and no number or name."""
        async with self._main.organisation(org_id) as connection:
            person = await subject.of_request(connection, request)
            held = await subject.held(connection, person)
            given = await requests.disclosures(connection, person.indexes, limit=MOST)
            carried, carried_count = await subject.carried(connection, person.indexes, limit=MOST)
        kinds = [each.kind for each in held if each.count]
        categories = know.categories(kinds)
        return {
            "made_at": self._clock.now().isoformat(),
            "request_id": str(request.id),
            "held": [
                {
                    "kind": each.kind,
                    "count": each.count,
                    "first": None if each.first is None else each.first.isoformat(),
                    "last": None if each.last is None else each.last.isoformat(),
                }
                for each in held
            ],
            "contacts_of_others_with_the_number": len(person.shared),
            "categories": categories,
            "categories_of_recipients": sorted({category["recipients"] for category in categories}),
            "disclosures": {
                "given": [
                    {
                        "at": each.at.isoformat(),
                        "recipient": each.recipient,
                        "recipient_id": each.recipient_id,
                        "what": each.kind,
                        "id": str(each.object_id),
                        "basis": each.basis,
                    }
                    for each in given
                ],
                "carriers": [
                    {
                        "at": each.at.isoformat(),
                        "recipient": f"carrier {each.carrier}",
                        "what": "number dialled or calling",
                        "id": str(each.id),
                    }
                    for each in carried
                ],
                "carried_calls": carried_count,
            },
        }
