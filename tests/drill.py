"""The drill (`make drill`): a call is recorded and backed up, then erased; the old backup is restored; each proof that nothing comes back.

Real parts throughout: two softphones that are not ours, sound that is compared, `hushwire up`, the real commands, the real API. Prints
each proof with its time, or with --json one object. Exit status 0 only if every step holds. The files are kept when one does not.

It is a test, not a command of hushwire: nothing of it belongs into an installation, and it needs the demo's softphones.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from hushwire.app.demo import speech, steps
from hushwire.app.demo.party import Party
from hushwire.app.demo.scene import ALLOWED_NUMBER, CALLER_ID, HOME_NUMBER, PROVISIONING, Scene, StepFailed
from hushwire.app.demo.show import Board
from hushwire.app.demo.stack import Stack, StackError, temporary_folder
from hushwire.app.demo.steps import SAME, decode_stereo
from hushwire.core.errors import HushwireError

TALK_S: Final = 4.0
WITHIN_S: Final = 20.0
SECOND_KEY: Final = """
[[orgs.api_keys]]
name = "stolen"
role = "owner"
"""
ZONE2: Final = '[zone2]\ndir = "{zone2}"\n[backup]\nevery_h = 0\n'


@dataclass(slots=True)
class Drill:
    """What the steps share."""

    scene: Scene
    carrier_uri: str
    erased: UUID | None = None
    kept: UUID | None = None
    erased_call: UUID | None = None
    backup: dict[str, Any] = field(default_factory=dict)
    receipt: bytes = b""
    stolen_key: str = ""

    @property
    def api(self) -> Any:
        return self.scene.api

    @property
    def stack(self) -> Stack:
        return self.scene.stack

    def check(self, fact: object, what: str) -> None:
        self.scene.check(fact, what)

    def folders(self) -> list[Path]:
        return [self.stack.data / "spool", self.stack.data / "store", self.stack.folder / "zone2"]


async def calls(drill: Drill) -> str:
    """Two calls are recorded; both play, and hold what was said."""
    found: list[UUID] = []
    for number in (ALLOWED_NUMBER, HOME_NUMBER):
        await steps.talk(drill.scene, number, TALK_S)
        items = await _stored(drill, len(found) + 1)
        (new,) = [item for item in items if UUID(item["id"]) not in found]
        found.append(UUID(new["id"]))
        if number == ALLOWED_NUMBER:
            drill.erased_call = UUID(new["call_id"])
    drill.erased, drill.kept = found
    scores = [await _plays(drill, each) for each in found]
    hits = await _search(drill, ALLOWED_NUMBER)
    drill.check(hits == [str(drill.erased)], "the search by number does not find the first recording before it is erased")
    return f"2 recordings stored, sound matches {min(scores):.3f} at least; the search by number finds the first"


async def back_up(drill: Drill) -> str:
    """`hushwire backup` to the second zone, beside the running hushwire."""
    drill.backup = orjson.loads(await drill.stack.run("backup", "--json", "--config", str(drill.stack.config)))
    drill.check(drill.backup["tables"]["recordings"] == 2, f"the backup holds {drill.backup['tables']['recordings']} recordings, not 2")
    size = drill.backup["size_bytes"] / 1e6
    return f"{drill.backup['rows']} rows, {size:.1f} MB, read back in full: {drill.backup['name']}"


async def erase(drill: Drill) -> str:
    """The first recording is erased; a key is revoked, an agent suspended, a country removed. All of it after the backup."""
    answer = await drill.api.ask("DELETE", f"/v1/recordings/{drill.erased}")
    drill.check(answer.status == 200, f"DELETE answered {answer.status}")
    drill.receipt = answer.body
    drill.stolen_key = drill.stack.secrets["api_keys"]["acme/stolen"]
    file = drill.stack.folder / "narrowed.toml"
    narrowed = _provisioning(drill.carrier_uri, second_key=False).replace('["DE", "GB"]', '["DE"]')
    file.write_text(narrowed.replace('extension = "102"', 'extension = "102"\nsuspended = true'))
    await drill.stack.run("apply", str(file), "--prune", "--config", str(drill.stack.config))
    await _ended(drill, "before the restore")
    return "erased with a receipt; key revoked, ben suspended, GB removed"


async def restore(drill: Drill) -> str:
    """hushwire ends; the backup, which still has the erased recording, is restored by the real command."""
    await drill.stack.stop()
    done = orjson.loads(await drill.stack.run("restore", "latest", "--yes", "--json", "--config", str(drill.stack.config)))
    replayed = done["replayed"]
    drill.check(done["name"] == drill.backup["name"], "another backup was restored")
    # What had to be carried out again was alive in the backup: without the replay it would be back.
    for name in ("recordings_erased", "api_keys_revoked", "agents_suspended", "rules_narrowed"):
        drill.check(replayed.get(name) == 1, f"{name}: {replayed.get(name, 0)} were carried out again, not 1: {replayed}")
    secrets = drill.stack.secrets
    drill.scene.stack = await Stack.start(drill.stack.folder)
    drill.stack.secrets = secrets
    drill.scene.api = drill.stack.api("acme/demo")
    return f"restored in {done['seconds']:.1f} s, replayed in {done['replay_seconds'] * 1000:.0f} ms: {replayed['tombstones']} endings"


async def absent(drill: Drill) -> str:
    """By API: 410, no sound, no search hit, no key; what was revoked, suspended and removed stays so."""
    await _ended(drill, "after the restore")
    for path in (f"/v1/recordings/{drill.erased}", f"/v1/recordings/{drill.erased}/audio?format=wav"):
        answer = await drill.api.ask("GET", path)
        drill.check(answer.status == 410, f"GET {path} answers {answer.status}, not 410")
    drill.check(await _search(drill, ALLOWED_NUMBER) == [], "the search by number finds the erased recording")
    listed = (await drill.api.get("/v1/recordings"))["items"]
    state = {item["id"]: item["state"] for item in listed}[str(drill.erased)]
    drill.check(state in ("erasing", "erased"), f"it is listed as {state}")
    return "410, no sound, no search hit, no key; the stolen key opens nothing, ben is suspended, GB is refused"


async def swept(drill: Drill) -> str:
    """No file of it in spool, store or second zone, and no key row in the keyring."""
    began = time.monotonic()
    while named := [path for folder in drill.folders() for path in folder.rglob(f"*{drill.erased}*")]:
        if time.monotonic() - began > WITHIN_S:
            raise StepFailed(f"still there: {named[0]}", str(drill.stack.log))
        await asyncio.sleep(0.05)
    drill.scene.org_id = await _organisation(drill)
    assert drill.erased is not None
    drill.check(await steps._key_rows(drill.scene, drill.erased) == 0, "the sealed data key still stands in the keyring")
    return "no file of it in spool, store and second zone; no key in the keyring"


async def kept(drill: Drill) -> str:
    """The recording that was not erased plays, and holds what was said."""
    assert drill.kept is not None
    score = await _plays(drill, drill.kept)
    return f"the other recording plays, sound matches {score:.3f}"


async def proofs(drill: Drill) -> str:
    """The receipt that was given verifies, so does the one made again; the audit chain is whole and tells of the restore."""
    keys = drill.stack.folder / "keys.json"
    keys.write_bytes((await drill.api.ask("GET", "/.well-known/hushwire-keys.json")).body)
    again = b""
    end = time.monotonic() + WITHIN_S
    while not again:
        answer = await drill.api.ask("DELETE", f"/v1/recordings/{drill.erased}")
        again = answer.body if answer.status == 200 else b""
        drill.check(time.monotonic() < end, f"no receipt: DELETE answers {answer.status}")
    positions = []
    for number, receipt in enumerate((drill.receipt, again)):
        file = drill.stack.folder / f"receipt-{number}.json"
        file.write_bytes(receipt)
        await drill.stack.run("verify-receipt", str(file), "--keys", str(keys))
        positions.append(orjson.loads(receipt)["ledger_position"])
    drill.check(positions[0] == positions[1], f"the ledger entry moved from {positions[0]} to {positions[1]}")
    said = orjson.loads(await drill.stack.run("audit", "verify", "--json", "--config", str(drill.stack.config)))
    drill.check(said["whole"], f"the audit chain is broken: {said}")
    rows = (await drill.api.get("/v1/audit"))["items"]
    drill.check(any(row["action"] == "restored" for row in rows), "the audit log does not tell of the restore")
    return f"both receipts verify, at ledger position {positions[0]}; the audit chain is whole and names the backup"


Step = Callable[[Drill], Awaitable[str]]
STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("calls", calls), ("backup", back_up), ("erase", erase), ("restore", restore), ("absent", absent), ("swept", swept), ("kept", kept),
    ("proofs", proofs),
)  # fmt: skip


async def _stored(drill: Drill, count: int) -> list[dict[str, Any]]:
    end = time.monotonic() + WITHIN_S
    while True:
        items: list[dict[str, Any]] = (await drill.api.get("/v1/recordings"))["items"]
        if len([item for item in items if item["state"] == "stored"]) == count:
            return items
        drill.check(time.monotonic() < end, f"{count} stored recordings were to be listed")
        await asyncio.sleep(0.1)


async def _plays(drill: Drill, recording: UUID) -> float:
    """How well both channels match what was said."""
    path = f"/v1/recordings/{recording}/audio?format=wav"
    answer = await drill.api.ask("GET", path)
    drill.check(answer.status == 200, f"GET {path} answers {answer.status}")
    left, right = decode_stereo(answer.body)
    score = min(steps._best(drill.scene.agent_speech, left).score, steps._best(drill.scene.carrier_speech, right).score)
    drill.check(score >= SAME, f"the sound matches by {score:.2f} only")
    return score


async def _search(drill: Drill, number: str) -> list[str]:
    found = await drill.api.post("/v1/recordings/search", {"number": number})
    return [item["id"] for item in found["items"]]


async def _ended(drill: Drill, when: str) -> None:
    """What was revoked, suspended and removed is so."""
    stranger = type(drill.api)(drill.api.url, drill.api.authority, drill.stolen_key)
    answer = await stranger.ask("GET", "/v1/recordings")
    drill.check(answer.status == 401, f"{when} the revoked key is answered {answer.status}")
    agents = (await drill.api.get("/v1/agents"))["items"]
    drill.check([a["suspended"] for a in agents if a["username"] == "ben"] == [True], f"{when} ben is not suspended")
    question = {"agent": "anna", "destination": ALLOWED_NUMBER, "channel": "invite"}
    verdict = (await drill.api.post("/v1/voice-security/check", question))["verdict"]
    drill.check(verdict == "deny", f"{when} a call to the removed country gets: {verdict}")


async def _organisation(drill: Drill) -> UUID:
    receipt = orjson.loads(drill.receipt)
    return UUID(receipt["org_id"])


def _provisioning(carrier: str, *, second_key: bool) -> str:
    return PROVISIONING.format(carrier=carrier, caller_id=CALLER_ID) + (SECOND_KEY if second_key else "")


async def main(*, as_json: bool) -> int:
    began = time.monotonic()
    outcomes: list[dict[str, Any]] = []
    folder = temporary_folder()
    zone2 = folder / "zone2"
    is_ok = False
    with Board(["start", *(name for name, _ in STEPS)], quiet=as_json) as board:
        async with AsyncExitStack() as exits:

            async def carried_out(name: str, work: Callable[[], Awaitable[str]]) -> bool:
                board.begin(name)
                since = time.monotonic()
                try:
                    detail, ok = await work(), True
                except StepFailed as failure:
                    detail, ok = f"{failure}. Look at: {failure.look_at}", False
                except (HushwireError, OSError, LookupError, ValueError) as error:
                    detail, ok = f"{type(error).__name__}: {error}", False
                ms = round((time.monotonic() - since) * 1000)
                outcomes.append({"name": name, "ok": ok, "ms": ms, "detail": detail})
                board.end(name, ok, ms, detail)
                return ok

            drills: list[Drill] = []

            async def start() -> str:
                drills.append(await _started(exits, folder, zone2))
                return f"up in {drills[0].stack.started_ms:.0f} ms, with a second zone"

            if await carried_out("start", start):
                exits.push_async_callback(lambda: drills[0].stack.stop())
                for name, step in STEPS:
                    if not await carried_out(name, lambda step=step: step(drills[0])):  # type: ignore[misc]
                        break
                else:
                    is_ok = True
        seconds = time.monotonic() - began
        if as_json:
            print(orjson.dumps({"ok": is_ok, "steps": outcomes, "seconds": round(seconds, 1)}).decode(), flush=True)
        if is_ok:
            board.say(f"[bold green]What was erased stays erased[/]: {len(STEPS)} proofs in {seconds:.1f} s")
            shutil.rmtree(folder, ignore_errors=True)
        else:
            board.say(f"[bold red]The drill failed.[/] Its files are kept in {folder}")
    return 0 if is_ok else 1


async def _started(exits: AsyncExitStack, folder: Path, zone2: Path) -> Drill:
    agent_speech, carrier_speech = speech.bundled(speech.AGENT), speech.bundled(speech.CARRIER)
    carrier = await Party.start("carrier", transport="udp", speech=carrier_speech, watch=False)
    exits.push_async_callback(carrier.close)
    await carrier.tell("account", uri=f"sip:carrier@{carrier.address}", srtp="off")
    await carrier.tell("policy", status=200, ring_s=0.1)
    stack = await Stack.start(folder, more=ZONE2.format(zone2=zone2))
    try:
        await stack.apply(_provisioning(str(carrier.address), second_key=True))
        agent = await Party.start("agent", transport="tls", ca=str(stack.authority), speech=agent_speech, watch=False)
        exits.push_async_callback(agent.close)
        scene = Scene(stack, stack.api("acme/demo"), agent, carrier, agent_speech, carrier_speech, may_sniff=False)
        await steps.register(scene)
    except BaseException:
        await stack.stop()
        raise
    return Drill(scene, str(carrier.address))


__all__ = ["STEPS", "StackError", "main"]

if __name__ == "__main__":
    sys.exit(asyncio.run(main(as_json="--json" in sys.argv)))
