"""An organisation that holds its own keys: registered over HTTP, proven, and set to a mode."""

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from hushwire.core.ids import OrgId
from hushwire.vault import recipient_rows
from hushwire.vault.custody import Mode
from hushwire.vault.envelopes import answer_challenge
from hushwire.vault.keyring import Keyring
from hushwire.vault.recipients import PrivateKey

PATH = "/v1/privacy/custody"


async def registered(api: httpx.AsyncClient, key: PrivateKey, **more: Any) -> dict[str, Any]:
    """What the API says to a new key."""
    body = {"name": "ours", "algorithm": key.algorithm.value, "public_key": key.public.pem().decode(), **more}
    answer = await api.post(f"{PATH}/keys", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def proven(api: httpx.AsyncClient, key: PrivateKey, **more: Any) -> str:
    """The id of a key that was registered and proven."""
    told = await registered(api, key, **more)
    answer = answer_challenge(base64.b64decode(told["challenge"]), key).hex()
    done = await api.post(f"{PATH}/keys/{told['key']['id']}/proof", json={"answer": answer})
    assert done.status_code == 200, done.text
    return str(told["key"]["id"])


async def hold(keyring: Keyring, org: OrgId, mode: Mode, *keys: PrivateKey) -> None:
    """The same behind the API's back, for tests that are about something else."""
    now = datetime.now(UTC)
    names = (await keyring.org_context(org)).operational
    async with keyring.db.organisation(org) as connection:
        await recipient_rows.lock(connection, org)
        for key in keys:
            recipient = uuid4()
            name = names.seal(b"ours", table="recipients", column="name_sealed", row=recipient, org=org)
            await recipient_rows.add_pending(connection, org, recipient, name, key.public, None, now)
            await recipient_rows.activate(connection, org, recipient, now)
        await recipient_rows.set_mode(connection, org, mode, now)
