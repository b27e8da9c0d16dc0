"""`hushwire sms` as a process of its own, to be killed, and sealed messages for it to send."""

import asyncio
import os
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
from tests.recorded import House


async def accept(house: House, centre: UUID, to: Sequence[str]) -> list[UUID]:
    """Messages to these numbers of Germany, sealed and in the outbox, in one commit. What waits for long is judged anew: it is allowed."""
    async with (await house.main("owner")).organisation(house.org) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = '{DE}', updated_at = now() WHERE NOT 'DE' = ANY(allowed_countries)")
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
    """`hushwire sms`, as the supervisor starts it; it ends by SIGKILL."""
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
