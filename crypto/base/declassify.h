#pragma once
// Marks the few places where a value computed from secrets becomes public, or where a branch on it
// is argued to tell nothing. In the product this is nothing; the constant-time test
// (tests/ctime), which tracks secrets as undefined memory under valgrind, compiles the same sources
// with COSIGNER_CTIME and learns here what it may stop tracking. Every call says why.

#include <cstddef>

#ifdef COSIGNER_CTIME
#include <valgrind/memcheck.h>
#endif

namespace cosigner {

inline void declassify([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t size) {
#ifdef COSIGNER_CTIME
  VALGRIND_MAKE_MEM_DEFINED(data, size);
#endif
}

/// For values: `if (declassified(x))`.
template <class T>
T declassified(T value) {
  declassify(&value, sizeof value);
  return value;
}

}  // namespace cosigner
