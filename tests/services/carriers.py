"""Several carriers for one gateway: provisioned while it runs, each an endpoint of its own, or one that never says anything."""

import asyncio
import socket
from dataclasses import replace
from types import TracebackType
from typing import Any

from hushwire.services.provisioning_specs import TrunkSpec
from tests.polling import until
from tests.services.running import Peer, World, specs


class Silent:
    """A carrier that takes everything and says nothing. Leave the block to close it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    @property
    def local_port(self) -> int:
        return int(self._socket.getsockname()[1])

    async def hears(self) -> bytes:
        """The next datagram."""
        return await asyncio.get_running_loop().sock_recv(self._socket, 65536)

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()


def trunk_spec(name: str, carrier: Peer | Silent, **how: Any) -> TrunkSpec:
    spec = TrunkSpec(name, f"sip:127.0.0.1:{carrier.local_port};transport=udp", "never", None, None, (), "auto")
    return replace(spec, **how)


async def provision(world: World, *trunks: TrunkSpec, **org: Any) -> None:
    """These trunks and no others, known to the gateway."""
    desired = replace(specs(world.carrier.local_port, **org), trunks=trunks)
    await world.provisioning.apply(desired, prune=True)
    wanted = {(trunk.name, trunk.uri) for trunk in trunks}

    def known() -> bool:
        return {(trunk.name, str(trunk.uri)) for trunk in world.gateway.directory.trunks} == wanted

    await until(known, what="the gateway knows its trunks")


async def carrier(world: World) -> Peer:
    """One more carrier."""
    made = await Peer.open(world.port)
    world.peers.append(made)
    return made
