#include "tests/check.hpp"

int main(int argc, char** argv) {
    using namespace hushwire::test;
    int ran = 0;
    for (const auto& [name, body] : all()) {
        if (argc > 1 && name.find(argv[1]) == std::string_view::npos) continue;
        int before = failures();
        body();
        ran++;
        if (failures() != before)
            std::fprintf(stderr, "FAILED: %.*s\n", static_cast<int>(name.size()), name.data());
    }
    std::printf("%d tests, %d failures\n", ran, failures());
    return failures() || !ran ? 1 : 0;
}
