// A test runner in forty lines: TEST("sentence") { CHECK(...); }. The program runs every test, or those whose
// name holds an argument.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.hpp"

namespace hushwire::test {

inline std::vector<std::pair<std::string_view, void (*)()>>& all() {
    static std::vector<std::pair<std::string_view, void (*)()>> tests;
    return tests;
}
inline int& failures() {
    static int count = 0;
    return count;
}
struct Register {
    Register(std::string_view name, void (*body)()) { all().emplace_back(name, body); }
};
inline void fail(const char* file, int line, const char* what) {
    constexpr int kMostShown = 100;  // a property that fails fails often
    if (failures()++ < kMostShown) std::fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
}

/// Bytes of a hexadecimal literal.
inline std::vector<std::byte> hex(std::string_view text) {
    std::vector<std::byte> out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        out.push_back(
            static_cast<std::byte>(std::strtoul(std::string(text.substr(i, 2)).c_str(), nullptr, 16)));
    return out;
}
/// The same chance in every run.
inline std::uint32_t chance() {
    static std::mt19937 generator(20'240'601);
    return static_cast<std::uint32_t>(generator());
}

}  // namespace hushwire::test

#define HW_JOIN2(a, b) a##b
#define HW_JOIN(a, b) HW_JOIN2(a, b)
#define TEST(name)                                                                                        \
    static void HW_JOIN(test_, __LINE__)();                                                               \
    static const ::hushwire::test::Register HW_JOIN(register_, __LINE__)(name, HW_JOIN(test_, __LINE__)); \
    static void HW_JOIN(test_, __LINE__)()
#define CHECK(...)                                                                    \
    do {                                                                              \
        if (!(__VA_ARGS__)) ::hushwire::test::fail(__FILE__, __LINE__, #__VA_ARGS__); \
    } while (false)
