// The sounds that hushwire-media holds, by the digest of what they are: loaded in parts, shared by all who
// play them, and bounded in memory. Control thread only; what is handed out may be used, and let go, in any
// thread.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "control/protocol.hpp"
#include "core/sound.hpp"

namespace hushwire::control {

/// SHA-256 over the clock rate and the frame's samples (u32 each) and the packed frames.
using SoundId = std::array<std::byte, 32>;

class Sounds {
  public:
    static constexpr std::size_t kMaxBytes =
        64 << 20;  ///< of all sounds together, those included that are being loaded
    static constexpr std::size_t kMaxLoading = 32;

    /// The sound, or null. It counts as used now.
    std::shared_ptr<const Sound> find(const SoundId& id);

    struct Part {
        SoundClock clock;
        std::size_t total = 0, offset = 0;
        ConstBytes data;
    };
    /// Takes the next part of a sound; the first one of a sound begins it anew. `is_whole` tells whether it
    /// can be played: it can at once where it was here already, whatever the part.
    std::optional<Refusal> load(const SoundId& id, const Part& part, bool& is_whole);
    /// Forgets the sound; whoever plays it plays on. False where there was none.
    bool unload(const SoundId& id);
    /// Forgets what was not loaded to its end: its controller is gone.
    void forget_loading() { loading_.clear(); }

    std::size_t count() const { return whole_.size(); }
    /// Memory, in bytes: of what is here, what is being loaded, and what was forgotten but is still played.
    std::size_t size();

  private:
    struct Whole {
        std::shared_ptr<const Sound> sound;
        std::uint64_t used = 0;
    };
    struct Loading {
        SoundClock clock;
        std::size_t total = 0;
        std::vector<std::byte> data;
    };
    bool make_room(std::size_t bytes);
    void forget(std::map<SoundId, Whole>::iterator at);

    std::map<SoundId, Whole> whole_;
    std::map<SoundId, Loading> loading_;
    std::vector<std::weak_ptr<const Sound>> played_on_;
    std::uint64_t uses_ = 0;
};

}  // namespace hushwire::control
