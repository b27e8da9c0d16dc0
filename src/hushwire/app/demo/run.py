"""`hushwire demo`: the main job from registration to receipt, in a temporary folder, with two SIP stacks that are not ours."""

import asyncio
import importlib.util
import shutil
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from rich.markup import escape

from hushwire.app.demo import speech
from hushwire.app.demo.packets import Sniffer
from hushwire.app.demo.party import Party
from hushwire.app.demo.scene import ALLOWED_NUMBER, CALLER_ID, HOME_NUMBER, PROVISIONING, Scene, StepFailed
from hushwire.app.demo.show import Board
from hushwire.app.demo.stack import DOMAIN, Stack, temporary_folder
from hushwire.app.demo.steps import STEPS, talk
from hushwire.core.errors import ConfigError, HushwireError

START: Final = "start"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One step as `--json` shows it."""

    name: str
    ok: bool
    ms: float
    detail: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "ms": self.ms, "detail": self.detail}


def main(*, json: bool = False, keep: bool = False) -> int:
    """Runs the demo; 0 when every step held, else 1. `keep` leaves everything running until Ctrl-C."""
    if importlib.util.find_spec("pjsua2") is None:
        raise ConfigError("the demo's softphones need pjsua2: pip install 'hushwire[softphone]' (Python 3.11 or 3.12 on x86-64)")
    return asyncio.run(_main(json, keep))


async def _main(json: bool, keep: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    # Whoever ends us ends hushwire and its folder too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = temporary_folder()
    try:
        return await _shown(json, keep, folder)
    except asyncio.CancelledError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _shown(json: bool, keep: bool, folder: Path) -> int:
    began = time.monotonic()
    outcomes: list[Outcome] = []
    figures: dict[str, Any] = {}
    with Board([START, *(name for name, _ in STEPS)], quiet=json) as board:
        async with AsyncExitStack() as exits:
            scene = await _opened(exits, board, outcomes, folder)
            if scene is not None:
                for name, step in STEPS:
                    if not await _carried_out(board, outcomes, name, scene, step):
                        break
                figures = scene.figures
            is_ok = len(outcomes) == len(STEPS) + 1 and all(outcome.ok for outcome in outcomes)
            figures["total_ms"] = round((time.monotonic() - began) * 1000)
            if json:
                print(orjson.dumps({"ok": is_ok, "steps": [o.as_json() for o in outcomes], "figures": figures}).decode(), flush=True)
            if keep and is_ok and scene is not None:
                await _kept(board, scene)
        if is_ok:
            board.say(f"[bold green]All {len(STEPS)} steps hold[/] ({figures['total_ms'] / 1000:.1f} s)")
            shutil.rmtree(folder, ignore_errors=True)
        else:
            board.say(f"[bold red]The demo failed.[/] Its files are kept in {escape(str(folder))}")
    return 0 if is_ok else 1


async def _opened(exits: AsyncExitStack, board: Board, outcomes: list[Outcome], folder: Path) -> Scene | None:
    """Everything started: the carrier, hushwire, its provisioning, the agent's softphone. None when that failed."""
    board.begin(START)
    began = time.monotonic()
    try:
        agent_speech, carrier_speech = await asyncio.gather(
            asyncio.to_thread(speech.speak, speech.AGENT), asyncio.to_thread(speech.speak, speech.CARRIER)
        )
        may_sniff = Sniffer.is_possible()
        carrier = await Party.start("carrier", transport="udp", speech=carrier_speech, watch=not may_sniff)
        exits.push_async_callback(carrier.close)
        await carrier.tell("account", uri=f"sip:carrier@{carrier.address}", srtp="off")
        await carrier.tell("policy", status=200, ring_s=0.2)
        stack = await Stack.start(folder)
        exits.push_async_callback(stack.stop)
        await stack.apply(PROVISIONING.format(carrier=carrier.address, caller_id=CALLER_ID))
        agent = await Party.start("agent", transport="tls", ca=str(stack.authority), speech=agent_speech, watch=not may_sniff)
        exits.push_async_callback(agent.close)
        scene = Scene(stack, stack.api("acme/demo"), agent, carrier, agent_speech, carrier_speech, may_sniff)
        scene.figures["start_ms"] = round(stack.started_ms)
    except (HushwireError, OSError) as error:
        _fail(board, outcomes, START, began, str(error), str(folder / "hushwire.log"))
        return None
    pids = ", ".join(stack.children())
    _end(board, outcomes, Outcome(START, True, _ms(began), f"up in {stack.started_ms:.0f} ms: {pids}"))
    return scene


async def _carried_out(board: Board, outcomes: list[Outcome], name: str, scene: Scene, step: Any) -> bool:
    board.begin(name)
    began = time.monotonic()
    try:
        detail = await step(scene)
    except StepFailed as failure:
        _fail(board, outcomes, name, began, str(failure), failure.look_at)
        return False
    except (HushwireError, OSError, LookupError, ValueError) as error:
        _fail(board, outcomes, name, began, f"{type(error).__name__}: {error}", str(scene.stack.log))
        return False
    _end(board, outcomes, Outcome(name, True, _ms(began), detail))
    return True


async def _kept(board: Board, scene: Scene) -> None:
    """Leaves everything running, with a second recording, until Ctrl-C."""
    await scene.api.put("/v1/voice-security", {"allowed_countries": ["DE", "GB"]})
    await talk(scene, HOME_NUMBER, 4)
    ben = scene.stack.secrets["agents"]["acme/ben"]
    addresses = "  ".join(a for listed in scene.stack.addresses.values() for a in listed)
    board.say(
        "\n[bold]Everything keeps running; Ctrl-C ends it.[/]\n"
        f"  API        {scene.api.url}/openapi.json   key {scene.api.key}\n"
        f"  trust      {scene.stack.authority}\n"
        f"  listening  {addresses}\n"
        f"  your phone user ben, password {escape(ben['sip_password'])}, domain acme.{DOMAIN}, outbound proxy = a SIP address above\n"
        f"  dial       *43 (echo), 101 (anna), {HOME_NUMBER} or {ALLOWED_NUMBER} (the demo's carrier answers)\n"
        f"  recording  curl --cacert {scene.stack.authority} -H 'Authorization: Bearer {scene.api.key}' {scene.api.url}/v1/recordings\n"
        f"  folder     {scene.stack.folder}"
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _fail(board: Board, outcomes: list[Outcome], name: str, began: float, what: str, look_at: str) -> None:
    _end(board, outcomes, Outcome(name, False, _ms(began), f"{what}. Look at: {look_at}"))


def _end(board: Board, outcomes: list[Outcome], outcome: Outcome) -> None:
    outcomes.append(outcome)
    board.end(outcome.name, outcome.ok, outcome.ms, outcome.detail)


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)


if __name__ == "__main__":
    sys.exit(main(json="--json" in sys.argv, keep="--keep" in sys.argv))
