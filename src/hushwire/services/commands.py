"""What the API asks of the node that holds a call: rows of node_commands, carried out at once when told and looked for each second."""

import asyncio
import functools
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.calls.model import JoinedAs
from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError
from hushwire.core.ids import AgentId, NodeId, OrgId
from hushwire.services.calling import Calling
from hushwire.services.live import LiveCall
from hushwire.store import nodes
from hushwire.store.database import Database
from hushwire.store.nodes import Command

POLL_S: Final = 1.0
_log = structlog.get_logger(__name__)


class Commands:
    """Carries out this node's commands."""

    def __init__(self, db: Database, calling: Calling, clock: Clock, node_id: NodeId) -> None:
        self._db = db
        self._calling = calling
        self._clock = clock
        self._node_id = node_id
        self._wake = asyncio.Event()
        self._under_way: dict[UUID, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._db.listen("hushwire_commands", self._told)
        while True:
            self._wake.clear()
            try:
                await self._look()
            except (LocalError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.warning("commands.unread", error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    def _told(self, payload: str) -> None:
        if payload in ("", str(self._node_id)):
            self._wake.set()

    async def _look(self) -> None:
        async with self._db.transaction() as connection:
            waiting = await nodes.open_commands(connection, self._node_id)
        for org_id, command_id in waiting:
            if command_id not in self._under_way:
                # A command that waits for the disk doesn't hold up those of other calls; one call's own take turns at its lock.
                task = asyncio.get_running_loop().create_task(self._carry_out(org_id, command_id), name="node-command")
                self._under_way[command_id] = task
                task.add_done_callback(functools.partial(self._finished, command_id))

    def _finished(self, command_id: UUID, _task: asyncio.Task[None]) -> None:
        self._under_way.pop(command_id, None)

    async def _carry_out(self, org_id: OrgId, command_id: UUID) -> None:
        try:
            async with self._db.organisation(org_id) as connection:
                command = await nodes.command(connection, command_id)
            if command is None:
                return
            try:
                outcome = await self._do(command)
            except LocalError as error:
                outcome = str(error)
            self._calling.kept_anew(self._calling.find(command.call_id))
            _log.info("command.done", call_id=str(command.call_id), action=command.action, ok=outcome == "ok")
            async with self._db.organisation(org_id) as connection:
                await nodes.finish_command(connection, command_id, self._clock.now(), outcome)
        except (LocalError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("command.delayed", error=type(error).__name__)  # the row is still open: the next look finds it

    async def _do(self, command: Command) -> str:
        live = self._calling.find(command.call_id)
        if live is None or live.route.org.id != command.org_id:
            # What is over records no more: there is nothing left to stop or wipe.
            return "ok" if command.action in ("recording.stop", "recording.wipe", "hangup") else "the call is over"
        if live.joining is not None and command.action != "hangup":
            return "it is a leg of another call: ask that one"
        recorder = self._calling.recorder
        match command.action:
            case "hangup":
                self._calling.hang_up(live)
                return "ok"
            case "recording.start":
                return await recorder.start(live)
            case "recording.pause":
                return await recorder.pause(live)
            case "recording.resume":
                return await recorder.resume(live)
            case "recording.stop" | "recording.wipe":
                # STOP_RECORDING's reply comes after the key is wiped from the media process's memory.
                return await recorder.stop(live)
            case "sensitive.on" | "sensitive.off":
                outcome = await recorder.set_sensitive(live, on=command.action == "sensitive.on")
                await self._calling.supervision.settle(live)
                return outcome
            case "supervise.listen" | "supervise.whisper" | "supervise.barge" | "supervise.leave":
                return await self._supervise(live, command)
            case _:
                return "unknown action"

    async def _supervise(self, live: LiveCall, command: Command) -> str:
        details, supervision = command.details, self._calling.supervision
        agent_id = AgentId(UUID(details["agent"]))
        role = command.action.removeprefix("supervise.")
        if role == "leave":
            return supervision.leave(live, agent_id)
        return await supervision.supervise(live, JoinedAs(role), agent_id, actor=details["actor"], purpose=details["purpose"])
