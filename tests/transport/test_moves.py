"""Where flows lead to after their peers moved."""

from dataclasses import replace

from hushwire.sip.effects import RequestReceived, Responded
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.transport.moves import Moves
from tests.sip.world import ANNA, BOB
from tests.transport.stage import stage
from tests.transport.test_websocket import PAGE, client, options

ONE = Flow(Transport.WSS, 1, Address("127.0.0.1", 443), Address("192.0.2.1", 1000))
TWO, THREE = replace(ONE, id=2), replace(ONE, id=3)


def test_a_peer_that_moved_twice_is_found_where_it_is_now() -> None:
    moves = Moves()
    assert not moves
    assert moves.note(ONE, TWO)
    assert moves.note(TWO, THREE)
    assert moves
    assert [moves.now(flow) for flow in (ONE, TWO, THREE)] == [THREE] * 3


def test_a_peer_that_came_back_is_found_there() -> None:
    moves = Moves()
    moves.note(ONE, TWO)
    moves.note(TWO, ONE)
    assert (moves.now(ONE), moves.now(TWO)) == (ONE, ONE)


def test_nobody_moves_to_another_transport() -> None:
    moves = Moves()
    assert not moves.note(ONE, replace(TWO, transport=Transport.TCP))
    assert not moves.note(ONE, ONE)
    assert moves.now(ONE) == ONE


def test_the_table_is_bounded() -> None:
    moves = Moves()
    for number in range(20000):
        moves.note(replace(ONE, id=2 * number), replace(ONE, id=2 * number + 1))
    assert len(moves.moved) == 16384


async def test_what_is_meant_for_a_connection_that_ended_goes_by_the_one_that_took_its_place() -> None:
    async with stage(Transport.WS, origins=(PAGE,)) as made:
        flows = []
        for name in ("old", "new"):
            async with client(made) as found:
                found.put(1, options(name).replace(b"OPTIONS", b"MESSAGE"))
                flows.append((await made.next(RequestReceived)).flow)  # type: ignore[attr-defined]
                if name == "new":
                    await found.get()
                    assert made.endpoint.follow(*flows)
                    request = made.endpoint.send("OPTIONS", hop=flows[0], uri=BOB.sip_uri, from_=ANNA, to=BOB)
                    opcode, data = await found.get()
                    lines = data.decode().split("\r\n")
                    kept = [line for line in lines if line.partition(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
                    found.put(1, "\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode())
                    event = await made.next(Responded)
                    assert isinstance(event, Responded)
                    assert (event.request, event.status, opcode) == (request, 200, 1)
