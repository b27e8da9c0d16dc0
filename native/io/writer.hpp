// The writer thread: opens spool files, seals the workers' chunks into them, ends them. Holds the recordings'
// keys.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "io/recorder.hpp"
#include "io/spool_file.hpp"
#include "io/syncer.hpp"

namespace hushwire::io {

struct RecordingOrder {
    RecordingId id = 0;
    std::string file;
    hwr::DataKey key;
    hwr::Identity identity;
    std::uint64_t anchor_us = 0;
    std::vector<std::byte> format;
};

class Writer {
  public:
    /// Called in the writer's or the syncer's thread.
    using Opened = std::function<void(int error)>;
    using Ended = std::function<void(const RecordingResult&)>;
    /// Once for each recording that fails, at the latest before its `Ended`.
    using Failed = std::function<void(RecordingId, const RecordingResult&)>;

    /// `spool` is the folder, open.
    Writer(Fd spool, std::vector<ChunkExchange*> exchanges, Failed failed);
    ~Writer();

    // Any thread
    void open(std::shared_ptr<RecordingOrder> order, Opened opened);
    /// After the worker handed over its last chunk. `ended` comes when the file is on disk and the key wiped;
    /// for a recording that failed before, its result comes again.
    void end(RecordingId id, std::uint32_t end_100us, std::uint64_t gaps, Ended ended);

  private:
    using Command = std::function<void()>;

    void post(Command command);
    void run();
    void drain();
    void do_open(const RecordingOrder& order, const Opened& opened);
    void do_end(RecordingId id, std::uint32_t end_100us, std::uint64_t gaps, const Ended& ended);

    Fd folder_;
    std::vector<ChunkExchange*> exchanges_;
    Failed failed_;
    Syncer syncer_;
    std::unordered_map<RecordingId, std::unique_ptr<SpoolFile>> files_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Command> commands_;
    bool is_stopping_ = false;
    std::thread thread_;
};

}  // namespace hushwire::io
