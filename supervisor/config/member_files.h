#pragma once
// peers.toml and initiators.toml: who the other nodes are, and who may ask this one.

#include <cstdint>
#include <vector>

#include "supervisor/config/config.h"

namespace cosigner::supervisor {

/// Of a cluster, and so of a key.
inline constexpr std::uint64_t kMaxNodes = 32;

/// Reads `out.peers_file` into `out.peers`; adds what is wrong with it to `all`.
void read_peers(Config& out, std::vector<ConfigProblem>& all);
/// Reads `out.initiators_file` into `out.initiators`, likewise.
void read_initiators(Config& out, std::vector<ConfigProblem>& all);

}  // namespace cosigner::supervisor
