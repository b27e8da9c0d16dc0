// One sealed file in the spool: header, frames, digest. Owned by the writer thread; the descriptor is shared
// with the syncer.
#pragma once
#include <fcntl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/seal.hpp"
#include "io/fd.hpp"

namespace hushwire::io {

/// How every spool file is opened: made anew, appended to, never read, never reached through a link.
inline constexpr int kSpoolFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_APPEND;

enum class Failure : std::uint8_t { none = 0, spool_full = 1, write_error = 2, other = 3 };

/// What became of a recording.
struct RecordingResult {
    hwr::Identity identity;
    bool is_failed = false;
    Failure failure = Failure::none;
    std::uint32_t frames = 0;
    std::uint64_t bytes = 0;
    std::array<std::byte, 32> digest{};
    std::uint64_t duration_ms = 0;
    std::uint64_t gaps = 0;
    std::uint32_t seal_lag_us = 0;  ///< the longest that a packet waited to be sealed and written
};

struct SyncedFd {
    Fd fd;
    std::atomic<bool> is_dirty{false};
    std::atomic<bool> is_lost{false};  ///< the disk did not take some of it
};

struct FreeDigest {
    void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
};
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeDigest>;

class SpoolFile {
  public:
    /// Creates the file (never an existing one, never through a link) and writes the header. `error` is errno
    /// on failure.
    static std::unique_ptr<SpoolFile> create(int folder, const std::string& name, const hwr::DataKey& key,
                                             const hwr::Identity& identity, int& error);
    /// Seals one frame in place (hwr::Sealer::seal) and writes it onto the end. False once failed; a torn
    /// frame is cut off again. `text` is 0 afterwards where nothing plain is left in the frame.
    bool append(Bytes frame, std::size_t& text, bool is_final);
    /// The same of a text that lies elsewhere.
    bool append(ConstBytes text, bool is_final);
    /// So long the oldest packet of a frame has waited for `append`.
    void note_lag(std::int64_t lag_us) { lag_us_ = std::max(lag_us_, lag_us); }
    /// Wipes the key; the file ends here.
    void end();
    bool is_failed() const { return failure_ != Failure::none; }
    RecordingResult result() const;
    const std::shared_ptr<SyncedFd>& synced() const { return fd_; }

  private:
    SpoolFile(Fd fd, const hwr::DataKey& key, const hwr::Identity& identity);
    bool write_all(ConstBytes bytes);

    std::shared_ptr<SyncedFd> fd_;
    hwr::Identity identity_;
    std::optional<hwr::Sealer> sealer_;
    DigestContext digest_;
    std::uint64_t bytes_ = 0;
    std::uint32_t frames_ = 0;
    std::int64_t lag_us_ = 0;
    Failure failure_ = Failure::none;
};

}  // namespace hushwire::io
