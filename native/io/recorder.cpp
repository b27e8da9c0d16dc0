#include "io/recorder.hpp"

#include <sys/mman.h>

namespace hushwire::io {

ChunkExchange::~ChunkExchange() {
    for (auto& slab : slabs_) OPENSSL_cleanse(slab.get(), sizeof *slab);
}

void ChunkExchange::give_back(Chunk* chunk) {
    OPENSSL_cleanse(chunk->data().data(), chunk->used);
    chunk->used = 0;
    free_.push(chunk);
}

void ChunkExchange::provide_for(std::size_t recordings) {
    auto wanted = std::min(recordings * kPerRecording + kReserve, kMaxChunks);
    while (slabs_.size() * kSlab < wanted) {
        auto slab = std::make_unique<std::array<Chunk, kSlab>>();
        // Plain audio passes through here, so it is kept out of swap as far as the limits allow
        // (RLIMIT_MEMLOCK).
        [[maybe_unused]] auto locked = mlock(slab.get(), sizeof *slab);
        for (auto& chunk : *slab) free_.push(&chunk);
        slabs_.push_back(std::move(slab));
    }
}

}  // namespace hushwire::io
