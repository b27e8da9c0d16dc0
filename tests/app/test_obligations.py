"""What the doctor says of clocks and notices."""

from pathlib import Path

import pytest

from hushwire.app import obligations
from hushwire.app.config import Config, Data, Mail
from hushwire.core.errors import Unavailable
from hushwire.privacy.clocks import ClockKind
from hushwire.services.obligations import Standing

NONE = {"queued": 0, "unaddressed": 0, "failed": 0}
WITHOUT_MAIL = Config(data=Data(dir=Path("/nowhere")))
WITH_MAIL = Config(data=Data(dir=Path("/nowhere")), mail=Mail(smtp="smtps://mail.example.org"))


def test_overdue_clocks_are_named_with_where_to_look() -> None:
    assert obligations.clocks_in_words(Standing({ClockKind.DISPUTE: 0}, NONE)) == "nothing is overdue"
    with pytest.raises(Unavailable, match=r"2 breach-notice: see /v1/privacy/clocks\?state=overdue"):
        obligations.clocks_in_words(Standing({ClockKind.DISPUTE: 0, ClockKind.BREACH_NOTICE: 2}, NONE))


@pytest.mark.parametrize(
    ("unsent", "config", "mend"),
    [
        ({"queued": 3}, WITHOUT_MAIL, r"3 queued: set \[mail\] smtp"),
        ({"queued": 3}, WITH_MAIL, "3 queued: the worker's log says why"),
        ({"unaddressed": 1}, WITH_MAIL, "1 unaddressed: designate contacts"),
        ({"failed": 1}, WITH_MAIL, "1 failed: designate other contacts"),
    ],
)
def test_unsent_notices_are_named_with_the_mend(unsent: dict[str, int], config: Config, mend: str) -> None:
    with pytest.raises(Unavailable, match=mend):
        obligations.notices_in_words(Standing({}, NONE | unsent), config)


def test_nothing_unsent_is_right_and_a_missing_mail_server_is_said() -> None:
    assert obligations.notices_in_words(Standing({}, NONE), WITH_MAIL) == "none waits"
    assert "smtp is not set" in obligations.notices_in_words(Standing({}, NONE), WITHOUT_MAIL)
