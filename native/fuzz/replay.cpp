// Runs a fuzz target over files and folders, without a fuzzer: regressions in the native tests, coverage, and
// a crash under a debugger. Given no file that exists it fails, so that an empty corpus is noticed.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/fuzz.hpp"

namespace {

void run(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::vector<char> text((std::istreambuf_iterator<char>(stream)), {});
    std::vector<std::uint8_t> bytes(text.begin(), text.end());
    bytes.shrink_to_fit();
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
    int count = 0;
    for (int i = 1; i < argc; i++) {
        if (std::filesystem::is_regular_file(argv[i])) {
            run(argv[i]);
            count++;
        } else if (std::filesystem::is_directory(argv[i])) {
            for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
                if (!entry.is_regular_file()) continue;
                run(entry.path());
                count++;
            }
        }
    }
    std::printf("%d inputs replayed\n", count);
    return count ? 0 : 1;
}
