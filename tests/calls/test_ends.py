"""Our end of one party's media over several offers."""

from dataclasses import replace

from hushwire.app.sources import SystemRandom
from hushwire.calls.ends import End
from hushwire.calls.model import Ports, Terms
from hushwire.sdp.offer_answer import Refusal, Srtp, Suite
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


def test_a_later_offer_of_ours_keeps_to_the_suite_that_was_agreed_and_a_later_offer_of_the_party_may_change_it() -> None:
    """Phones take the best that a re-INVITE offers, and some go on sending under the old one: nothing better is offered then."""
    ours, phone = end(), Party(4000, Srtp.REQUIRED)
    old, new = Suite.AES_CM_128_HMAC_SHA1_80, Suite.AEAD_AES_256_GCM
    known = dict(phone.local.keys)
    phone.local = replace(phone.local, keys={old: known[old]})
    assert isinstance(ours.answer(phone.offer()), bytes)
    phone.local = replace(phone.local, keys=known)
    for described in (ours.offer(ours.agreed), ours.renew(Ports("127.0.0.1", 30000, 30001))):
        assert described is not None
        crypto = [line for line in described.decode().splitlines() if line.startswith("a=crypto:")]
        assert [line.split()[1] for line in crypto] == [old.value]
        assert ours.take_answer(phone.answer(described)) is None
        assert ours.agreed is not None
        assert ours.agreed.send_crypto is not None
        assert ours.agreed.send_crypto.suite is old
    phone.local = replace(phone.local, keys={new: known[new]})
    assert isinstance(ours.answer(phone.offer()), bytes)
    assert ours.agreed.send_crypto.suite is new
