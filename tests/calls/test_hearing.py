"""Who hears whom, and who is recorded, by what the guests of a call joined as."""

from hypothesis import given
from hypothesis import strategies as st

from hushwire.calls.hearing import hearing, recorded
from hushwire.calls.model import JoinedAs

LISTEN, WHISPER, BARGE, MEMBER = JoinedAs.LISTEN, JoinedAs.WHISPER, JoinedAs.BARGE, JoinedAs.MEMBER
AGENT, CUSTOMER = 0, 1


def test_two_parties_hear_each_other() -> None:
    assert hearing((0, 1), {}) == {0: {1}, 1: {0}}
    assert recorded((0, 1), {}) == {0, 1}


def test_who_listens_is_heard_by_nobody_who_whispers_by_the_agent_and_who_barges_in_by_all() -> None:
    assert hearing((0, 1), {2: LISTEN}) == {0: {1}, 1: {0}, 2: {0, 1}}
    assert hearing((0, 1), {2: WHISPER}) == {0: {1, 2}, 1: {0}, 2: {0, 1}}
    assert hearing((0, 1), {2: BARGE}) == {0: {1, 2}, 1: {0, 2}, 2: {0, 1}}
    assert [recorded((0, 1), {2: role}) for role in (LISTEN, WHISPER, BARGE)] == [{0, 1}, {0, 1}, {0, 1, 2}]


def test_supervisors_hear_who_barges_in_and_not_who_whispers() -> None:
    heard = hearing((0, 1), {2: LISTEN, 3: WHISPER, 4: BARGE})
    assert heard == {0: {1, 3, 4}, 1: {0, 4}, 2: {0, 1, 4}, 3: {0, 1, 4}, 4: {0, 1}}


def test_members_of_a_conference_all_hear_each_other_and_are_recorded() -> None:
    guests = dict.fromkeys(range(16), MEMBER)
    assert hearing((), guests) == {leg: set(range(16)) - {leg} for leg in range(16)}
    assert recorded((), guests) == set(range(16))


def test_while_something_sensitive_is_said_supervisors_hear_nothing_and_the_parties_each_other() -> None:
    assert hearing((0, 1), {2: LISTEN, 3: BARGE}, is_sensitive=True) == {0: {1, 3}, 1: {0, 3}, 2: set(), 3: set()}


GUESTS = st.dictionaries(st.integers(2, 15), st.sampled_from([LISTEN, WHISPER, BARGE]))


@given(GUESTS, st.booleans())
def test_whoever_comes_the_customer_hears_only_who_is_recorded_and_nobody_hears_itself(
    guests: dict[int, JoinedAs], sensitive: bool
) -> None:
    heard = hearing((AGENT, CUSTOMER), guests, is_sensitive=sensitive)
    assert heard[CUSTOMER] | {CUSTOMER} == recorded((AGENT, CUSTOMER), guests)
    assert all(leg not in others for leg, others in heard.items())
    assert heard[CUSTOMER] - {AGENT} <= heard[AGENT]
    unheard = {leg for leg, role in guests.items() if role is LISTEN}
    assert not any(unheard & others for others in heard.values())
