"""What the doctor says of bundles that can't be built."""

import pytest

from hushwire.app import doctor_bundles
from hushwire.core.errors import Unavailable
from hushwire.store.documents import Trouble


def test_without_trouble_nothing_waits_in_vain() -> None:
    assert doctor_bundles.told([]) == "none waits in vain"


def test_what_failed_is_named_with_the_mend_before_what_is_tried_again() -> None:
    found = [Trouble(True, "recording-out-of-reach", 2), Trouble(False, "service-away", 1), Trouble(False, "disk", 3)]
    with pytest.raises(Unavailable) as raised:
        doctor_bundles.told(found)
    assert str(raised.value) == (
        "could not be built: 2 recording-out-of-reach: mend the cause, then execute their requests again;"
        " tried again by themselves: 1 service-away, 3 disk (docs/exports.md lists the reasons)"
    )
