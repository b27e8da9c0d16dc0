"""Counts of how calls sounded, from the ends of calls to the text that Prometheus reads."""

from uuid import UUID

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hushwire.api.quality_metrics import QualityCollector
from hushwire.media.model import BridgeReport, LegStatistics, RecordingResult, RecordingState
from hushwire.media.quality import LegQuality, SilenceCause
from hushwire.services.quality_counts import QualityCounts


def leg(number: int, mos: float | None, loss: float = 0.0, packets: int = 100) -> LegStatistics:
    quality = LegQuality(number, jitter_ms=3.0, loss_received=loss, mos_received=mos)
    return LegStatistics(number, packets, packets, 0, 3000, 0, 0, 0, 0, None, quality=quality)


def scraped(*gateways: QualityCounts) -> dict[tuple[str, ...], float]:
    registry, collector = CollectorRegistry(), QualityCollector()
    registry.register(collector)
    collector.note(gateway.told() for gateway in gateways)  # type: ignore[misc]
    text = generate_latest(registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (sample.name, *(sample.labels[name] for name in ("leg", "cause", "le") if name in sample.labels)): sample.value
        for sample in samples
    }


def test_calls_are_counted_in_cumulative_classes_per_leg_and_summed_over_gateways() -> None:
    one, two = QualityCounts(), QualityCounts()
    one.note_call(BridgeReport((leg(0, 4.38), leg(1, 2.9, loss=0.04)), None))
    two.note_call(BridgeReport((leg(0, 3.6), leg(1, 4.4)), None))
    found = scraped(one, two)
    name = "hushwire_call_mos_received_bucket"
    assert [found[name, "agent", bound] for bound in ("3.1", "3.6", "4.3", "+Inf")] == [0, 1, 1, 2]
    assert [found[name, "peer", bound] for bound in ("2.6", "3.1", "4.3", "+Inf")] == [0, 1, 1, 2]
    assert found["hushwire_call_mos_received_sum", "agent"] == 4.38 + 3.6
    assert found["hushwire_call_loss_ratio_bucket", "peer", "0.02"] == 1
    assert found["hushwire_call_jitter_seconds_count", "agent"] == 2


def test_what_is_not_known_is_not_counted_and_other_legs_share_a_label() -> None:
    counts = QualityCounts()
    counts.note_call(BridgeReport((leg(0, None), leg(1, 4.0, packets=0), leg(5, 4.0), leg(7, 4.0)), None))
    found = scraped(counts)
    assert ("hushwire_call_mos_received_count", "agent") not in found
    assert ("hushwire_call_mos_received_count", "peer") not in found
    assert found["hushwire_call_mos_received_count", "other"] == 2


def test_each_recording_counts_once_by_how_long_its_sound_was_unsealed_at_worst() -> None:
    counts = QualityCounts()
    for lag_ms in (310, 420, 700):
        result = RecordingResult(UUID(int=1), 0, RecordingState.CLOSED, 9, 900, bytes(32), 3000, 0, 0, seal_lag_us=lag_ms * 1000)
        counts.note_call(BridgeReport((leg(0, 4.0),), result))
    found = scraped(counts)
    name = "hushwire_call_seal_lag_seconds_bucket"
    assert [found[name, "both", bound] for bound in ("0.3", "0.35", "0.5", "+Inf")] == [0, 1, 2, 3]


def test_one_way_audio_is_counted_by_leg_and_cause_when_it_begins() -> None:
    counts = QualityCounts()
    for cause in (SilenceCause.WRONG_TAG, SilenceCause.OVER, SilenceCause.WRONG_TAG):
        counts.note_one_way(1, cause)
    assert scraped(counts)["hushwire_call_one_way_audio_total", "peer", "wrong-tag"] == 2


def test_without_gateways_the_families_are_there_and_empty() -> None:
    assert scraped() == {}
