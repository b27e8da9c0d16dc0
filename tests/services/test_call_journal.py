"""When calls are written into the journal."""

from pathlib import Path
from typing import Any, cast
from uuid import UUID

from hushwire.services.call_journal import CallJournal
from hushwire.services.live import LiveCall
from hushwire.vault.journal import NAME, Journal, read
from tests.polling import until

KEY = bytes(32)
CALL = UUID(int=7)


class Unopened:
    """A call for which nothing was opened: it has no words of its own."""

    id = CALL
    new = None


async def test_what_nobody_hears_of_is_written_by_itself_where_nothing_is_sent(tmp_path: Path) -> None:
    journal = Journal(tmp_path, KEY)
    calls = CallJournal(journal, cast(Any, None), cast(Any, None), lambda _agent, _flow: None)
    live = cast(LiveCall, Unopened())
    journal.put(CALL, b"first")
    calls.soon(live)
    calls.soon(live)
    assert read(tmp_path / NAME, KEY) == {}
    await until(lambda: read(tmp_path / NAME, KEY) == {CALL: {0: b"first"}}, what="it is written")
    journal.put(CALL, b"second")
    calls.soon(live)
    calls.commit()
    assert read(tmp_path / NAME, KEY) == {CALL: {0: b"second"}}
