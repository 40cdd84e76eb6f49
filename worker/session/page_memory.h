#pragma once
// Memory in whole pages straight from the kernel, for what lives longer than a session: it goes
// back whole. Containers take it through std::pmr, under a pool resource. For secrets there is
// crypto/base/locked_memory.h.

#include <memory_resource>

namespace cosigner::worker {

[[nodiscard]] std::pmr::memory_resource& page_memory();

}  // namespace cosigner::worker
