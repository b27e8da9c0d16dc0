"""The store over 10 million calls and a million recordings, asked through the API of a running hushwire.

Searches by number, agent and time; deletions with their receipts; the erasure of 10,000 recordings at once and of the whole
organisation; the renewal of a bucket with all its survivors.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import ssl
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from provisioned import Bench, running
from storerows import SPAN, World, fill, made_numbers, utc_now

from hushwire.app import config as configuration
from hushwire.app.deployment import administration
from hushwire.core.ids import OrgId, uuid7
from hushwire.vault import renewal

AGENTS = 50
NUMBERS = 200_000
SHARED_KEYS = 20_000
RENEWED_AT_MOST = 100_000  # a key takes half a millisecond: a million would take the bench ten minutes
WARM_UP = 20  # an API process that never searched before loads its numbering plans with the first number
HEADERS = {"Content-Type": "application/json"}


@dataclass
class Client:
    """One kept connection to the API, as an owner's program would use it."""

    url: str
    authority: Path | None
    key: str

    def __post_init__(self) -> None:
        place = urlsplit(self.url)
        assert place.hostname
        context = ssl.create_default_context(cafile=str(self.authority))
        self._connection = http.client.HTTPSConnection(place.hostname, place.port, context=context, timeout=120)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any, float]:
        """Status, JSON and milliseconds; a refusal for asking too often is waited out and not counted."""
        while True:
            data = None if body is None else json.dumps(body)
            try:
                began = time.perf_counter()
                self._connection.request(method, path, data, HEADERS | {"Authorization": f"Bearer {self.key}"})
                response = self._connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionError):
                self._connection.close()  # it was idle for too long: the next request opens another one
                continue
            content = response.read()
            took_ms = (time.perf_counter() - began) * 1000
            if response.status != 429:
                return response.status, json.loads(content) if content else None, took_ms
            time.sleep(float(response.headers.get("Retry-After", "1")))


def percentiles(taken: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    taken = sorted(taken)
    return {"p50_ms": round(statistics.median(taken), 2), "p99_ms": round(taken[min(len(taken) - 1, int(len(taken) * 0.99))], 2)}


async def run(
    *, calls: int = 10_000_000, recordings: int = 1_000_000, asked: int = 400, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """The whole measurement."""
    async with running(AGENTS, 5060, record="none", srtp="optional") as bench:
        began = time.monotonic()
        world = await made_world(bench)
        await fill(world, calls, recordings)
        say(f"store: {calls} calls and {recordings} recordings made in {time.monotonic() - began:.0f} s")
        api = bench.stack.api("acme/owner")
        client = Client(api.url, api.authority, api.key)
        figures: dict[str, Any] = {"calls": calls, "recordings": recordings, "asked": asked}
        figures["searches"] = await asyncio.to_thread(searched, client, world, asked)
        say(f"store: {json.dumps(figures['searches'])}")
        figures["deletions"] = await asyncio.to_thread(deleted, client, asked)
        say(f"store: deletions {json.dumps(figures['deletions'])}")
        figures["once"] = []
        figures["once"].append(await asyncio.to_thread(erased_agent, client, world))
        if recordings <= RENEWED_AT_MOST:
            figures["once"] += await renewed(bench)
        figures["once"].append(await asyncio.to_thread(ended, client))
        say("store: " + "; ".join(figures["once"]))
        return figures


def erased_agent(client: Client, world: World) -> str:
    """Everything recorded of one agent, erased by one request: until the operation says that all of it is unreadable."""
    began = time.perf_counter()
    status, operation, first_ms = client.ask("POST", "/v1/recordings/erase", {"agent": str(world.agents[0])})
    assert status in (200, 202), status
    while operation["unreadable_at"] is None:
        time.sleep(0.05)
        _, operation, _ = client.ask("GET", f"/v1/privacy/erasures/{operation['id']}")
    took_s = time.perf_counter() - began
    count = operation["counts"]["recording"]["unreadable"]
    return f"{count:,} recordings of one agent erased by one request: answered in {first_ms:.0f} ms, all unreadable after {took_s:.1f} s"


async def renewed(bench: Bench) -> list[str]:
    """The bucket that the erased keys lay in, renewed with all its survivors."""
    config = configuration.load(bench.stack.config, {})
    async with administration(config) as means:
        began = time.perf_counter()
        done = await renewal.renew_due(means.keyring)
        took_s = time.perf_counter() - began
    moved = sum(each.moved for each in done)
    each_us = took_s / max(1, moved) * 1e6
    return [f"{moved:,} surviving keys sealed anew and the old private key destroyed in {took_s:.0f} s ({each_us:.0f} us a key)"]


def ended(client: Client) -> str:
    """The whole organisation: from the confirmed request until nothing of it opens any more."""
    _, asked, _ = client.ask("POST", "/v1/privacy/organisation/erase", {})
    began = time.perf_counter()
    status, operation, first_ms = client.ask("POST", "/v1/privacy/organisation/erase", {"confirmation": asked["confirmation"]})
    assert status in (200, 202), status
    while operation["unreadable_at"] is None:
        time.sleep(0.05)
        _, operation, _ = client.ask("GET", f"/v1/privacy/erasures/{operation['id']}")
    took_s = time.perf_counter() - began
    return f"the whole organisation erased: answered in {first_ms:.0f} ms, everything unreadable after {took_s:.2f} s"


async def made_world(bench: Bench) -> World:
    """Ids and keys of the provisioned organisation, and the keys that calls are sealed under."""
    config = configuration.load(bench.stack.config, {})
    async with administration(config) as means:
        async with means.main.transaction() as connection:
            org = OrgId(await connection.fetchval("SELECT find_org('acme')"))
        keys = await means.keyring.org_context(org)
        async with means.main.organisation(org) as connection:
            agents: list[UUID] = [row[0] for row in await connection.fetch("SELECT id FROM agents")]
        now = utc_now()
        ids = [uuid7(int(now.timestamp() * 1000), means.random.token_bytes(10)) for _ in range(SHARED_KEYS)]
        shared = [
            data_key
            for start in range(0, SHARED_KEYS, 500)
            for data_key in await means.keyring.new_data_keys(org, "call", ids[start : start + 500])
        ]
        bucket = await means.keyring.current_bucket(org)
        numbers = [(number, keys.index("calls.remote", number)) for number in made_numbers(NUMBERS)]
    node = UUID((bench.stack.data / "node").read_text().strip())
    return World(
        administrator(bench.stack.data, "main"), administrator(bench.stack.data, "keyring"), org, node, bucket.id, bucket.public_key,
        agents, numbers, [(data_key.id, data_key.key) for data_key in shared], now,
    )  # fmt: skip


def administrator(data: Path, name: str) -> str:
    """How the embedded server's administrator reaches it."""
    password = json.loads((data / "pg" / f"{name}.json").read_text())["hushwire_admin"]
    database = {"main": "hushwire", "keyring": "hushwire_keys"}[name]
    place = urlencode({"host": str(data / "run" / f"pg-{name}")}, quote_via=quote)
    return f"postgresql://hushwire_admin:{quote(password, safe='')}@/{database}?{place}"


def searched(client: Client, world: World, asked: int) -> dict[str, dict[str, float]]:
    """Searches with arguments by chance: first pages of 50 rows, and pages from the middle of the time."""
    chance = random.Random(7)

    def moment() -> str:
        return quote((world.now - SPAN * chance.random()).isoformat())

    def number() -> dict[str, Any]:
        return {"number": world.numbers[int(len(world.numbers) * chance.random() ** 3)][0]}

    kinds: dict[str, Callable[[], tuple[str, str, object]]] = {
        "calls by number": lambda: ("POST", "/v1/calls/search", number()),
        "calls by agent": lambda: ("GET", f"/v1/calls?agent={chance.choice(world.agents)}&to={moment()}", None),
        "calls by time": lambda: ("GET", f"/v1/calls?to={moment()}", None),
        "recordings by number": lambda: ("POST", "/v1/recordings/search", number()),
        "recordings by agent": lambda: ("GET", f"/v1/recordings?agent={chance.choice(world.agents)}&to={moment()}", None),
        "recordings by time": lambda: ("GET", f"/v1/recordings?to={moment()}", None),
    }
    found = {}
    for name, made in kinds.items():
        taken = []
        for _ in range(WARM_UP + asked):
            status, _, took_ms = client.ask(*made())
            assert status == 200, (name, status)
            taken.append(took_ms)
        found[name] = percentiles(taken[WARM_UP:])
    return found


def deleted(client: Client, asked: int) -> dict[str, float]:
    """Deletions, each answered with its receipt."""
    ids: list[str] = []
    path = "/v1/recordings?limit=200"
    while len(ids) < asked:
        _, page, _ = client.ask("GET", path)
        ids += [item["id"] for item in page["items"] if item["state"] == "stored"]
        path = f"/v1/recordings?limit=200&cursor={quote(page['next'])}"
    taken = []
    for recording in ids[:asked]:
        status, receipt, took_ms = client.ask("DELETE", f"/v1/recordings/{recording}")
        assert status == 200
        assert receipt["signature"]
        taken.append(took_ms)
    return percentiles(taken)


if __name__ == "__main__":
    asyncio.run(run(calls=int(sys.argv[1]), recordings=int(sys.argv[2]), asked=int(sys.argv[3])))
