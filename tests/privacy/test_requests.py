"""The pure course of a data subject's request."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.privacy.requests import TRANSITIONS, Kind, State, Step, after, answer_due


@given(st.lists(st.sampled_from(list(Step)), max_size=30))
def test_whatever_is_tried_no_request_is_worked_on_or_answered_before_the_identity_is_proven(steps: list[Step]) -> None:
    state, is_proven = State.RECEIVED, False
    for step in steps:
        new = after(state, step)
        if new is None:
            continue
        is_proven = is_proven or step is Step.VERIFIED
        state = new
        assert is_proven or state not in (State.VERIFIED, State.WORKING, State.ANSWERED)
        assert state.is_proven <= is_proven


def test_every_open_state_can_be_refused_or_cancelled_and_nothing_follows_an_end_but_a_withdrawal_an_answer() -> None:
    for state in State:
        for step in (Step.REFUSED, Step.CANCELLED):
            assert (after(state, step) is not None) is state.is_open
        if not state.is_open:
            following = {step for step in Step if after(state, step) is not None}
            assert following == ({Step.WITHDRAWN} if state is State.ANSWERED else set())


def test_every_state_is_reached_by_some_step_and_receipt_is_only_a_beginning() -> None:
    assert {*TRANSITIONS.values()} == {*State} - {State.RECEIVED}
    assert all(step is not Step.RECEIVED for _, step in TRANSITIONS)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ((2026, 3, 10), (2026, 4, 10)),
        ((2026, 1, 31), (2026, 2, 28)),
        ((2028, 1, 31), (2028, 2, 29)),
        ((2026, 12, 31), (2027, 1, 31)),
        ((2026, 2, 28), (2026, 3, 28)),
        ((2026, 3, 31), (2026, 4, 30)),
    ],
)
def test_a_request_is_to_be_answered_within_one_month(received: tuple[int, int, int], due: tuple[int, int, int]) -> None:
    assert answer_due(Kind.ACCESS, datetime(*received, 13, 37, tzinfo=UTC)) == datetime(*due, 13, 37, tzinfo=UTC)


def test_an_erasure_is_to_be_carried_out_within_fifteen_days() -> None:
    assert answer_due(Kind.ERASE, datetime(2026, 2, 20, tzinfo=UTC)) == datetime(2026, 3, 7, tzinfo=UTC)
