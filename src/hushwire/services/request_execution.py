"""Carrying out what a data subject asked for, once their identity is proven. Each way may be walked again after a crash.

access    a bundle is built by the worker; the request is answered when it is ready
know      a report is made anew each time, and stored nowhere
rectify   the corrections are made; superseding entries stand in the audit log
erase     the one erasure path, by number and contact; its operation is the evidence
restrict  everything of the person is kept and not read
object    no gateway records the number any more, until the objection is withdrawn
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.personal import Personal
from hushwire.privacy import audit
from hushwire.privacy.requests import Kind, Method, State, Step, after
from hushwire.privacy.selection import Selector
from hushwire.services.agents import Agents
from hushwire.services.contacts import Contacts, ContactView, PhoneNumber, Unfit, Values
from hushwire.services.erasure import Erasures
from hushwire.services.erasure_operations import Operation
from hushwire.services.know import Knowing
from hushwire.services.requests import Correction, NoRequest, NotNow, Requests, RequestView
from hushwire.services.restrictions import Restrictions
from hushwire.store import documents, restrictions, subject
from hushwire.store import requests as table
from hushwire.store.database import Connection, Database
from hushwire.store.requests import Disclosure, RequestRow
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

BASIS: Final = "data-subject-request"
CONTACT_FIELDS: Final = frozenset({"name", "notes", "number"})
AGENT_FIELDS: Final = frozenset({"caller_id", "extension"})


@dataclass(frozen=True, slots=True)
class Unprovided:
    """The request lacks what its execution takes: a number, a contact, corrections."""

    message: str


Outcome = RequestView | NoRequest | NotNow | Unfit | Unprovided


class Execution:
    """Carries requests out."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        requests: Requests,
        contacts: Contacts,
        agents: Agents,
        restrict: Restrictions,
        knowing: Knowing,
        erasures: Erasures,
        clock: Clock,
        random: Random,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._requests = requests
        self._contacts = contacts
        self._agents = agents
        self._restrictions = restrict
        self._knowing = knowing
        self._erasures = erasures
        self._clock = clock
        self._random = random

    async def execute(self, org_id: OrgId, request_id: UUID, why: Why) -> Outcome:
        """Do what was asked. Asked again while it is under way, it goes on; nothing is done twice."""
        found = await self._requests.get(org_id, request_id, why)
        if isinstance(found, NoRequest):
            return found
        state = State(found.row.state)
        if state not in (State.VERIFIED, State.WORKING):
            return NotNow(state)
        outcome = await self._carried_out(org_id, found, why)
        if outcome is not None:
            return outcome
        shown = await self._requests.get(org_id, request_id, why)
        assert isinstance(shown, RequestView)
        return shown

    async def withdraw_objection(self, org_id: OrgId, request_id: UUID, method: Method, why: Why, *, note: str | None = None) -> Outcome:
        """The person no longer objects: their calls are recorded again as the organisation's rules say. `method`: how they were identified.

        Where they objected more than once, withdrew a consent, or are a minor, the number stays unrecorded for that; the outcome counts it.
        """
        found = await self._requests.get(org_id, request_id, why)
        if isinstance(found, NoRequest):
            return found
        if found.row.kind != Kind.OBJECT:
            return Unprovided("the request is no objection")
        step_id = self._new_id()
        sealed = await self._requests.sealed_note(found, step_id, note, why)
        async with self._main.organisation(org_id) as connection:
            locked = await self._locked(connection, request_id)
            state = State(locked.state)
            if after(state, Step.WITHDRAWN) is None:
                return NotNow(state)
            still = await restrictions.withdraw_objection(connection, request_id)
            outcome = {"unrecorded_numbers": 0, "still_unrecorded": still}
            await self._requests.move(
                connection, locked, Step.WITHDRAWN, why.actor, method=method, sealed=sealed, outcome=outcome, step_id=step_id
            )
        shown = await self._requests.get(org_id, request_id, why)
        assert isinstance(shown, RequestView)
        return shown

    async def report(self, org_id: OrgId, request_id: UUID, why: Why) -> dict[str, Any] | NoRequest | NotNow:
        """The report of a request for access or to know, as of now; who received it stands in the disclosure log."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, request_id)
        if row is None:
            return NoRequest()
        state = State(row.state)
        if row.kind not in (Kind.KNOW, Kind.ACCESS) or not state.is_proven:
            return NotNow(state)
        said = await self._knowing.report(org_id, row)
        async with self._main.organisation(org_id) as connection:
            await self._disclose(connection, row, why, "report", request_id)
        return said

    async def _carried_out(self, org_id: OrgId, found: RequestView, why: Why) -> Unfit | Unprovided | NotNow | None:
        kind = Kind(found.row.kind)
        match kind:
            case Kind.ACCESS:
                return await self._begin_export(org_id, found.row, why)
            case Kind.KNOW:
                await self._finish(org_id, found.row, why, {})
                return None
            case Kind.RECTIFY:
                return await self._rectify(org_id, found, why)
            case Kind.RESTRICT:
                return await self._restrict(org_id, found.row, why)
            case Kind.OBJECT:
                return await self._object(org_id, found.row, why)
            case Kind.ERASE:
                return await self._erase(org_id, found, why)
            case _:
                assert_never(kind)

    async def _begin_export(self, org_id: OrgId, row: RequestRow, why: Why) -> Unprovided | NotNow | None:
        """The row of a bundle that the worker builds; the one that is being built already, unless that failed or was erased."""
        known = None if row.outcome is None else row.outcome.get("export")
        if known is not None:
            async with self._main.organisation(org_id) as connection:
                document = await documents.get(connection, UUID(known))
            if document is not None and not document.is_gone and document.state != "failed":
                return None
        key = await self._keyring.new_data_key(org_id, "document", self._new_id())
        is_begun = False
        async with self._main.organisation(org_id) as connection:
            locked = await self._locked(connection, row.id)
            if (locked.outcome or {}).get("export") == known and State(locked.state) in (State.VERIFIED, State.WORKING):
                region, now = await documents.residency(connection), self._clock.now()
                if known is not None:
                    await documents.replace_failed(connection, UUID(known), now)
                await documents.insert(connection, org_id, key.id, row.id, region, key.fingerprint, now)
                await self._work(connection, locked, why, {"export": str(key.id), **({} if known is None else {"export_failure": None})})
                is_begun = True
        if not is_begun:
            await self._keyring.destroy_data_key(org_id, "document", key.id)
        return None

    async def _rectify(self, org_id: OrgId, found: RequestView, why: Why) -> Unfit | Unprovided | NotNow | None:
        if not found.corrections:
            return Unprovided("the request names no corrections")
        for place, correction in enumerate(found.corrections):
            outcome = await self._corrected(org_id, correction, why)
            if isinstance(outcome, Unfit):
                return Unfit(f"corrections[{place}].{outcome.field}", outcome.message)
        await self._finish(org_id, found.row, why, {"corrected": len(found.corrections)})
        return None

    async def _corrected(self, org_id: OrgId, correction: Correction, why: Why) -> Unfit | None:
        if correction.target == "agent":
            if correction.what not in AGENT_FIELDS:
                return Unfit("what", "is nothing of an agent that can be corrected")
            values: dict[str, Any] = {correction.what: correction.value}
            done = await self._agents.rectify(org_id, correction.id, actor=why.actor, **values)
            return done if isinstance(done, Unfit) else None if done else Unfit("id", "is no agent of the organisation")
        if correction.what not in CONTACT_FIELDS:
            return Unfit("what", "is nothing of a contact that can be corrected")
        outcome = await self._contacts.change(
            org_id,
            correction.id,
            lambda values: _changed(values, correction),
            why,
            action=audit.Action.CONTACT_RECTIFIED,
            is_rectifying=True,
        )
        if isinstance(outcome, Unfit):
            return Unfit("value", outcome.message)
        return None if isinstance(outcome, ContactView) else Unfit("id", "is no contact of the organisation")

    async def _erase(self, org_id: OrgId, found: RequestView, why: Why) -> Unprovided | None:
        """By the one erasure path. Answered once everything is unreadable; while a hold keeps something the request stays open.

        A number and a contact are erased one after the other: the contact's numbers lead to more.
        """
        known = [UUID(each) for each in (found.row.outcome or {}).get("erasures", ())]
        begun = [await self._newest(org_id, each) for each in known]
        if not begun or any(each is None or each.row.state == "deferred" for each in begun):
            selectors = self._selectors(found)
            if not selectors and not begun:
                return Unprovided("the request names neither a number nor a contact")
            begun = [await self._erasures.erase_matching(org_id, each, actor=why.actor, reason=BASIS) for each in selectors] or begun
        made = [each for each in begun if each is not None]
        async with self._main.organisation(org_id) as connection:
            locked = await self._locked(connection, found.row.id)
            await self._work(connection, locked, why, {"erasures": [str(each.id) for each in made]})
            if all(each.is_unreadable and each.row.state != "deferred" for each in made):
                await self._answer(connection, found.row.id, why, {})
        return None

    async def _newest(self, org_id: OrgId, operation_id: UUID) -> Operation | None:
        """The operation, or the one that ran it again after a hold was released."""
        async with self._main.organisation(org_id) as connection:
            again = await connection.fetchval(
                "SELECT id FROM erasure_operations WHERE follows = $1 ORDER BY requested_at DESC LIMIT 1", operation_id
            )
        return await self._erasures.operation(org_id, operation_id if again is None else again)

    def _selectors(self, found: RequestView) -> list[Selector]:
        person = found.person
        if person is None:
            return []
        by_number = [] if person.number is None else [Selector(number=Personal(person.number))]
        return by_number + ([] if person.contact is None else [Selector(contact=person.contact)])

    async def _restrict(self, org_id: OrgId, row: RequestRow, why: Why) -> Unprovided | NotNow | None:
        async with self._main.organisation(org_id) as connection:
            locked = await self._locked(connection, row.id)
            person = await subject.of_request(connection, locked)
            if not person.indexes and not person.contacts:
                return Unprovided("the request names neither a number nor a contact")
            await self._work(connection, locked, why, {})
            placed = [
                await self._restrictions.place(connection, org_id, "number", remote_index=index, request_id=row.id, actor=why.actor)
                for index in person.indexes
            ]
            placed += [
                await self._restrictions.place(connection, org_id, "contact", object_id=contact, request_id=row.id, actor=why.actor)
                for contact in person.contacts
            ]
            await self._answer(connection, row.id, why, {"restrictions": [str(each.id) for each in placed]})
        return None

    async def _object(self, org_id: OrgId, row: RequestRow, why: Why) -> Unprovided | NotNow | None:
        async with self._main.organisation(org_id) as connection:
            locked = await self._locked(connection, row.id)
            person = await subject.of_request(connection, locked)
            if not person.indexes:
                return Unprovided("the request names no number, nor a contact that has one")
            await self._work(connection, locked, why, {})
            now = self._clock.now()
            for index in person.indexes:
                await restrictions.object_to_recording(connection, org_id, self._new_id(), index, row.id, now)
            await self._answer(connection, row.id, why, {"unrecorded_numbers": len(person.indexes)})
        return None

    async def _finish(self, org_id: OrgId, row: RequestRow, why: Why, outcome: Mapping[str, Any]) -> None:
        async with self._main.organisation(org_id) as connection:
            locked = await self._locked(connection, row.id)
            await self._work(connection, locked, why, outcome)
            await self._answer(connection, row.id, why, {})

    async def _work(self, connection: Connection, locked: RequestRow, why: Why, outcome: Mapping[str, Any]) -> None:
        """Note that it is being carried out, once, and what came of it so far."""
        if State(locked.state) is State.VERIFIED:
            await self._requests.move(connection, locked, Step.WORKING, why.actor, outcome=outcome)
        elif outcome:
            await table.move(connection, locked.id, locked.state, outcome=outcome)

    async def _answer(self, connection: Connection, request_id: UUID, why: Why, outcome: Mapping[str, Any]) -> None:
        locked = await self._locked(connection, request_id)
        if State(locked.state) is State.WORKING:
            await self._requests.move(connection, locked, Step.ANSWERED, why.actor, outcome=outcome)

    async def _disclose(self, connection: Connection, row: RequestRow, why: Why, kind: str, object_id: UUID) -> None:
        given = Disclosure(self._new_id(), self._clock.now(), "customer", why.actor, kind, object_id, BASIS, row.remote_index)
        await table.disclose(connection, row.org_id, [given])

    async def _locked(self, connection: Connection, request_id: UUID) -> RequestRow:
        row = await table.get(connection, request_id, for_update=True)
        assert row is not None, "requests are never removed"
        return row

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))


def _changed(values: Values, correction: Correction) -> Values:
    """The contact's values with one correction; a number takes the place of the one that it corrects, or is added."""
    if correction.what == "name":
        return replace(values, name=correction.value)
    if correction.what == "notes":
        return replace(values, notes=correction.value)
    kept = tuple(number for number in values.numbers if number.number != correction.instead_of)
    label = next((number.label for number in values.numbers if number.number == correction.instead_of), "other")
    if any(number.number == correction.value for number in kept):
        return replace(values, numbers=kept)
    return replace(values, numbers=(*kept, PhoneNumber(label, correction.value)))
