"""Feature codes: what is read from a dial string, and which tables are refused."""

import pytest

from hushwire.app.config import FeatureCodes
from hushwire.services.features import DEFAULT, TABLE, Dialled, Feature, Features


@pytest.mark.parametrize(
    ("dialled", "read"),
    [
        ("*43", Dialled(Feature.ECHO)),
        ("*73", Dialled(Feature.FORWARD_ALWAYS_OFF)),
        ("*72+493023125999", Dialled(Feature.FORWARD_ALWAYS, "+493023125999")),
        ("*31*43", Dialled(Feature.HIDE_CALLER, "*43")),
        ("*72", None),
        ("*433", None),
        ("*7", None),
        ("102", None),
        ("", None),
        ("+493023125999", None),
    ],
)
def test_a_code_is_read_whole_and_what_takes_something_takes_all_that_follows(dialled: str, read: Dialled | None) -> None:
    assert DEFAULT.read(dialled) == read


def test_of_two_codes_that_begin_alike_the_one_that_was_dialled_counts() -> None:
    codes = Features({Feature.ECHO: "*8", Feature.CONFERENCE: "*88", Feature.SHOW_CALLER: "*82"})
    assert codes.read("*8") == Dialled(Feature.ECHO)
    assert codes.read("*881") == Dialled(Feature.CONFERENCE, "1")
    assert codes.read("*82102") == Dialled(Feature.SHOW_CALLER, "102")


def test_a_code_that_is_switched_off_is_read_as_nothing() -> None:
    codes = Features({Feature.ECHO: ""})
    assert codes.read("*43") is None
    assert codes.code(Feature.ECHO) is None


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({Feature.ECHO: "43"}, "a code is"),
        ({Feature.ECHO: "*"}, "a code is"),
        ({Feature.ECHO: "*4a"}, "a code is"),
        ({Feature.ECHO: "*78"}, "the same code"),
        ({Feature.HIDE_CALLER: "*8"}, "begins so too"),
        ({Feature.ECHO: "*885"}, "begins so too"),
    ],
)
def test_codes_that_are_none_or_clash_are_refused_in_a_sentence(codes: dict[Feature, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Features(codes)
    with pytest.raises(ValueError, match=said):
        FeatureCodes(**{feature.value: code for feature, code in codes.items()})


def test_every_feature_has_a_row_and_a_key_of_the_configuration() -> None:
    assert set(TABLE) == set(Feature)
    keyed_in_calls = {"transfer_by_keys"}  # never dialled (services/keyed_transfers.py)
    assert set(FeatureCodes.model_fields) == set(Feature) | keyed_in_calls
