"""Our end of one party's media over several offers."""

from hushwire.app.sources import SystemRandom
from hushwire.calls.ends import End
from hushwire.calls.model import Ports, Terms
from hushwire.sdp.offer_answer import Refusal, Srtp
from tests.calls.drive import Counted, Party


def end() -> End:
    return End(Terms(0, Srtp.OPTIONAL, "192.0.2.7"), Ports("127.0.0.1", 20000, 20001), Counted())


def test_media_that_was_protected_is_never_offered_back_into_the_clear() -> None:
    ours = end()
    assert isinstance(ours.answer(Party(4000, Srtp.REQUIRED).offer()), bytes)
    agreed = ours.agreed
    assert isinstance(ours.answer(Party(4000, Srtp.NEVER).offer()), Refusal)
    assert isinstance(ours.read(Party(4000, Srtp.NEVER).offer()), Refusal)
    assert ours.agreed is agreed


def test_media_in_the_clear_may_become_protected() -> None:
    ours = end()
    assert isinstance(ours.answer(Party(4000, Srtp.NEVER).offer()), bytes)
    assert isinstance(ours.answer(Party(4000, Srtp.REQUIRED).offer()), bytes)
    assert ours.agreed is not None
    assert ours.agreed.send_crypto is not None


def test_no_two_ends_ever_share_a_key() -> None:
    """Each call, each party and each run of the gateway protects under keys of its own: no SRTP index can come back under an old one."""
    ends = [End(Terms(0, Srtp.OPTIONAL, "192.0.2.7"), Ports("127.0.0.1", 20000, 20001), SystemRandom()) for _ in range(500)]
    keys = [key for one in ends for key in one.local.keys.values()]
    assert len(keys) >= 1500
    assert len(set(keys)) == len(keys)
    assert all(len(set(key)) > 8 for key in keys), "not a constant or a counter"
