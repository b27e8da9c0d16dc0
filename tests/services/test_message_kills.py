"""kill -9 of the process that holds the links, under load: nothing is lost, nothing is sent twice (docs/adr/0049)."""

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from hushwire.app.wiring import KEYS_FD
from hushwire.core.ids import uuid7
from hushwire.services.message_sealing import Draft, sealed
from hushwire.store import message_parts, messages
from hushwire.vault.root import BucketFolders
from tests.interop.message_centre import message_centre, need_centre
from tests.polling import until
from tests.recorded import House, house
from tests.services.message_texts import Carrying, numbers

__all__ = ["house"]

WINDOW, MESSAGES, KILLS = 20, 300, 2


async def accept(house: House, centre: UUID, to: Sequence[str]) -> list[UUID]:
    """Messages to these numbers, sealed and in the outbox, in one commit."""
    keyring, now = await house.keyring("worker"), house.clock.now()
    keys = await keyring.org_context(house.org)
    ids = [uuid7(int(now.timestamp() * 1000), secrets.token_bytes(10)) for _ in to]
    made = await keyring.new_data_keys(house.org, "message", ids)
    drafts = [Draft("outbound", "sms", "queued", now, number, "ACME", "hello", centre_id=centre) for number in to]
    async with (await house.main("worker")).organisation(house.org) as connection:
        await messages.insert_all(connection, house.org, [sealed(draft, key, keys) for draft, key in zip(drafts, made, strict=True)])
        await message_parts.enqueue_all(connection, house.org, [(key.id, 1, centre) for key in made], now, None)
    return [key.id for key in made]


@asynccontextmanager
async def role(house: House) -> AsyncIterator[asyncio.subprocess.Process]:
    """`hushwire sms`, as the supervisor starts it."""
    keys_out, keys_in = os.pipe()
    os.write(keys_in, house.root.role_keys(opener=True, buckets=BucketFolders(house.folder / "buckets", None)).to_json())
    os.close(keys_in)
    databases = house.databases
    environment = {
        KEYS_FD: str(keys_out),
        "HUSHWIRE_DATA__DIR": str(house.folder),
        "HUSHWIRE_DATABASE__DSN": databases.dsn("main", "worker"),
        "HUSHWIRE_KEYRING__DSN": databases.dsn("keyring", "worker"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hushwire", "sms"),
        env={**os.environ, **environment},
        pass_fds=(keys_out,),
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    os.close(keys_out)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_kill_9_under_load_loses_nothing_doubles_nothing_and_leaves_no_more_in_doubt_than_a_window(house: House) -> None:
    need_centre()
    here = Carrying(house)
    async with message_centre(policy={"receipt": "tlv", "quiet": True, "delay_ms": 3}) as smsc:
        await here.provision(smsc.port, window=WINDOW, unknown_after_s=6, when_unknown="resend")
        ids = await accept(house, await here.centre_id(), numbers(MESSAGES))

        async def counts() -> dict[str, int]:
            found = list((await here.states()).values())
            return {state: found.count(state) for state in set(found)}

        for _ in range(KILLS):
            async with role(house):
                before = (await smsc.ask("report"))["messages"]
                wanted = before + random.randrange(20, MESSAGES // (KILLS + 1))

                async def has_sent(wanted: int = wanted) -> bool:
                    return bool((await smsc.ask("report"))["messages"] >= wanted)

                doubtful = (await counts()).get("unknown", 0)
                await until(has_sent, timeout_s=90, every_s=0.005)
            assert (await counts()).get("sending", 0) <= WINDOW
            assert (await counts()).get("unknown", 0) <= doubtful + WINDOW
        async with role(house):

            async def is_over() -> bool:
                return await counts() == {"delivered": len(ids)}

            await until(is_over, timeout_s=90, every_s=0.2, what="all delivered")
        report = await smsc.ask("report")
        assert (report["distinct"], report["doubled"]) == (MESSAGES, 0)
