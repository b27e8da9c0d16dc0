"""The running record of how a call sounds: latest and worst, and what its row says."""

from dataclasses import replace

from hushwire.media.model import BridgeReport
from hushwire.media.quality import LegQuality, SilenceCause
from hushwire.media.wire import Fields, Tag
from hushwire.services.call_quality import CallQuality, leg_name, of_report

GOOD = LegQuality(0, jitter_ms=0.4, round_trip_ms=20.0, loss_received=0.0, mos_received=4.41, mos_heard=4.35)


def field(tag: Tag, value: bytes) -> bytes:
    return int(tag).to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def wire(**fields: tuple[int, int]) -> bytes:
    return b"".join(field(Tag[name], value.to_bytes(width, "big")) for name, (value, width) in fields.items())


def test_figures_of_the_wire_are_read_in_their_units_and_what_is_absent_is_not_known() -> None:
    read = LegQuality.read(
        Fields(wire(LEG=(1, 1), JITTER_US=(1500, 4), LOSS_RECEIVED=(125, 2), MOS_RECEIVED=(398, 2), ROUND_TRIP_US=(42_000, 4)))
    )
    assert (read.leg, read.jitter_ms, read.loss_received, read.mos_received, read.round_trip_ms) == (1, 1.5, 0.0125, 3.98, 42.0)
    assert read.mos_heard is None
    assert read.loss_reported is None


def test_the_worst_five_seconds_are_kept_while_the_latest_go_on() -> None:
    quality = CallQuality()
    for mos in (4.4, 2.1, 4.2):
        quality.note((replace(GOOD, mos_received=mos), replace(GOOD, leg=1, mos_received=None)))
    facts = quality.so_far()
    assert facts["agent"]["mos_received"] == 4.2
    assert facts["agent"]["mos_received_worst"] == 2.1
    assert "mos_received" not in facts["peer"]
    assert facts["peer"]["mos_heard_worst"] == 4.35


def test_the_row_is_written_at_the_first_report_and_every_third_after_it() -> None:
    quality = CallQuality()
    assert [quality.note((GOOD,)) for _ in range(7)] == [True, False, False, True, False, False, True]


def test_a_cause_of_silence_stays_in_the_record_after_it_is_over() -> None:
    quality = CallQuality()
    quality.note((GOOD,))
    quality.note_silence(0, SilenceCause.WRONG_TAG)
    quality.note_silence(0, SilenceCause.OVER)
    assert quality.so_far()["agent"]["one_way_audio"] == "wrong-tag"


def test_a_call_whose_end_the_media_process_does_not_tell_keeps_what_was_known() -> None:
    quality = CallQuality()
    assert quality.at_end(None) is None
    quality.note((GOOD,))
    assert quality.at_end(None) == quality.so_far()


def test_at_the_end_the_row_says_counts_and_figures_of_every_leg() -> None:
    leg = wire(LEG=(0, 1), PACKETS_RECEIVED=(500, 8), LOST=(7, 8), JITTER_US=(900, 4), MOS_RECEIVED=(420, 2), MOS_RECEIVED_WORST=(400, 2))
    report = BridgeReport.read(Fields(field(Tag.LEG_STATS, leg)))
    assert of_report(report) == {
        "agent": {"packets_received": 500, "packets_sent": 0, "lost": 7, "jitter_ms": 0.9, "mos_received": 4.2, "mos_received_worst": 4.0}
    }
    assert [leg_name(leg) for leg in (0, 1, 2)] == ["agent", "peer", "leg-2"]
