#pragma once
#ifndef HUSHWIRE_VERSION
#define HUSHWIRE_VERSION "0.1.0"
#endif
namespace hushwire {
inline constexpr char kProgram[] = "hushwire-media/" HUSHWIRE_VERSION;
}
