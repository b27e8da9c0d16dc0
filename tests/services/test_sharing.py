"""Which use of a credential is taken for sharing, and which is one phone's ordinary life."""

from uuid import UUID

from hushwire.services.sharing import Alarm, Evidence, Seen, Sharing

KEY = UUID(int=1)
DESK, SOFT = Seen("urn:uuid:1", "a", "192.0.2.1"), Seen("urn:uuid:2", "b", "198.51.100.1")
OLD, NEW = Seen(None, "a", "192.0.2.1"), Seen(None, "b", "198.51.100.1")


def test_two_instances_in_two_networks_are_told_once() -> None:
    sharing = Sharing(3)
    assert sharing.look(KEY, [DESK], DESK) is None
    assert sharing.look(KEY, [DESK, SOFT], SOFT) == Alarm(Evidence.PLACES, 2, 2)
    assert sharing.look(KEY, [DESK, SOFT], DESK) is None
    # It ends with one of them, and may begin again.
    assert sharing.look(KEY, [DESK], None) is None
    assert sharing.look(KEY, [DESK, SOFT], SOFT) is not None


def test_two_devices_in_one_network_are_no_sharing() -> None:
    other = Seen("urn:uuid:2", "b", DESK.host)
    assert Sharing(3).look(KEY, [DESK, other], other) is None
    six = [Seen(None, str(n), f"2001:db8::{n}") for n in range(2)]
    assert Sharing(3).look(KEY, six, six[0]) is None


def test_a_phone_that_moves_between_networks_is_one_device() -> None:
    sharing = Sharing(3)
    mobile = Seen(DESK.instance, "other", "203.0.113.9")
    assert sharing.look(KEY, [DESK], DESK) is None
    assert sharing.look(KEY, [mobile], mobile) is None
    assert sharing.look(KEY, [DESK], DESK) is None


def test_a_phone_without_instance_that_was_started_elsewhere_leaves_a_binding_behind_and_raises_nothing() -> None:
    sharing = Sharing(3)
    assert sharing.look(KEY, [OLD], OLD) is None
    assert sharing.look(KEY, [OLD, NEW], NEW) is None
    assert sharing.look(KEY, [OLD, NEW], NEW) is None
    assert sharing.look(KEY, [NEW], NEW) is None


def test_two_phones_without_instance_are_told_once_the_first_is_heard_of_again() -> None:
    sharing = Sharing(3)
    assert sharing.look(KEY, [OLD], OLD) is None
    assert sharing.look(KEY, [OLD, NEW], NEW) is None
    assert sharing.look(KEY, [OLD, NEW], OLD) == Alarm(Evidence.PLACES, 2, 2)
    assert sharing.look(KEY, [OLD, NEW], NEW) is None


def test_behind_a_proxy_nobody_knows_the_place() -> None:
    hidden = Seen("urn:uuid:2", "b", None)
    assert Sharing(3).look(KEY, [DESK, hidden], hidden) is None


def test_more_devices_than_a_person_has_are_told_wherever_they_are() -> None:
    four = [Seen(None, str(n), "192.0.2.1") for n in range(4)]
    assert Sharing(3).look(KEY, four, four[-1]) == Alarm(Evidence.DEVICES, 4, 1)


def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    sharing = Sharing(3)
    sharing.remember(KEY, [DESK, SOFT])
    assert sharing.look(KEY, [DESK, SOFT], SOFT) is None
