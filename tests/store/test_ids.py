"""Ids as the database driver has them are ids like any other."""

from uuid import UUID

from hushwire.core.ids import uuid7
from hushwire.store.ids import new_id


def test_an_id_of_the_drivers_is_equal_to_and_found_by_that_of_the_standard_library() -> None:
    made, known = new_id(1_700_000_000_000, bytes(range(10))), uuid7(1_700_000_000_000, bytes(range(10)))
    assert isinstance(made, UUID)
    assert (made, hash(made), str(made), made.version) == (known, hash(known), str(known), 7)
    assert {known: 1}[made] == 1
