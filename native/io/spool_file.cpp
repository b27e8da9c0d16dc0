#include "io/spool_file.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <stdexcept>

namespace hushwire::io {

SpoolFile::SpoolFile(Fd fd, const hwr::DataKey& key, const hwr::Identity& identity)
    : fd_(std::make_shared<SyncedFd>()),
      identity_(identity),
      sealer_(std::in_place, key, identity),
      digest_(EVP_MD_CTX_new()) {
    fd_->fd = std::move(fd);
    if (!digest_ || EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr) != 1)
        throw std::runtime_error("SHA-256 is not available");
}

std::unique_ptr<SpoolFile> SpoolFile::create(int folder, const std::string& name, const hwr::DataKey& key,
                                             const hwr::Identity& identity, int& error) {
    Fd fd(::openat(folder, name.c_str(), kSpoolFlags, 0600));
    if (!fd) {
        error = errno;
        return nullptr;
    }
    std::unique_ptr<SpoolFile> file(new SpoolFile(std::move(fd), key, identity));
    if (!file->write_all(file->sealer_->header())) {
        error = errno;
        ::unlinkat(folder, name.c_str(), 0);
        return nullptr;
    }
    return file;
}

bool SpoolFile::write_all(ConstBytes bytes) {
    auto rest = bytes;
    while (!rest.empty()) {
        auto n = ::write(fd_->fd.get(), rest.data(), rest.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            auto error = n < 0 ? errno : ENOSPC;
            bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;
            failure_ = is_full ? Failure::spool_full : Failure::write_error;
            // Readers accept whole frames only, and the digest is of whole frames.
            [[maybe_unused]] auto cut = ::ftruncate(fd_->fd.get(), static_cast<off_t>(bytes_));
            errno = error;
            return false;
        }
        rest = rest.subspan(static_cast<std::size_t>(n));
    }
    EVP_DigestUpdate(digest_.get(), bytes.data(), bytes.size());
    bytes_ += bytes.size();
    fd_->is_dirty.store(true, std::memory_order_release);
    return true;
}

bool SpoolFile::append(Bytes frame, std::size_t& text, bool is_final) {
    if (is_failed() || !sealer_) return false;
    if (fd_->is_lost.load(std::memory_order_acquire)) {
        failure_ = Failure::write_error;
        return false;
    }
    hwr::Nonce nonce;
    // From the kernel, which knows when this machine was cloned or put back, and at half of what libcrypto
    // takes.
    if (::getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size())) {
        failure_ = Failure::other;
        return false;
    }
    auto size = sealer_->seal(frame, text, is_final, nonce);
    if (!size) return false;
    text = 0;
    if (!write_all(frame.first(size))) return false;
    frames_++;
    return true;
}

bool SpoolFile::append(ConstBytes text, bool is_final) {
    std::vector<std::byte> frame(text.size() + hwr::kFrameOverhead);
    std::ranges::copy(text, frame.begin() + hwr::kFrameText);
    auto size = text.size();
    return append(frame, size, is_final);
}

void SpoolFile::end() {
    sealer_.reset();
}

RecordingResult SpoolFile::result() const {
    RecordingResult result{
        .identity = identity_,
        .is_failed = is_failed(),
        .failure = failure_,
        .frames = frames_,
        .bytes = bytes_,
        .seal_lag_us = static_cast<std::uint32_t>(std::clamp<std::int64_t>(lag_us_, 0, UINT32_MAX))};
    DigestContext copy(EVP_MD_CTX_new());
    unsigned length = 0;
    if (!copy || EVP_MD_CTX_copy_ex(copy.get(), digest_.get()) != 1
        || EVP_DigestFinal_ex(copy.get(), uchars(result.digest.data()), &length) != 1)
        throw std::runtime_error("SHA-256 failed");
    return result;
}

}  // namespace hushwire::io
