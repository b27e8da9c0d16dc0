// What control asks for of a bridge's recorder.
#include "io/worker.hpp"

namespace hushwire::io {

void Worker::start_recorder(const Uuid& id, RecordingId recording, std::int64_t start_us) {
    auto* host = find(id);
    if (!host) return;
    host->recorder = std::make_unique<Recorder>(recording, exchange_, start_us);
    host->bridge.set_tap(host->recorder.get());
    if (host->bridge.is_sensitive()) host->recorder->pause(Recorder::Pause::sensitive, now_us_);
}

RecorderEnd Worker::switch_recorder(const Uuid& id, std::int64_t old_start_us, RecordingId next,
                                    std::int64_t next_start_us) {
    auto* old = recorder(id);
    bool was_paused = old && old->is_paused(Recorder::Pause::asked);
    auto end = end_recorder(id, old_start_us);
    start_recorder(id, next, next_start_us);
    if (auto* fresh = recorder(id); fresh && was_paused) fresh->pause(Recorder::Pause::asked, now_us_);
    return end;
}

RecorderEnd Worker::end_recorder(const Uuid& id, std::int64_t start_us) {
    RecorderEnd end{static_cast<std::uint32_t>((now_us_ - start_us) / 100), 0};
    auto* host = find(id);
    if (!host || !host->recorder) return end;
    host->recorder->flush();
    end.gaps = host->recorder->gaps();
    host->bridge.set_tap(nullptr);
    host->recorder.reset();
    return end;
}

Recorder* Worker::recorder(const Uuid& id) {
    auto* host = find(id);
    return host ? host->recorder.get() : nullptr;
}

}  // namespace hushwire::io
