#pragma once
// What only this host can say to a configuration that reads well: key files that hold no key or
// another node's, directories that cannot be used, groups that do not exist, ports in use. For
// `cosignerctl config check` and for the start of cosignerd, so that both say the same.

#include "supervisor/config/config.h"

namespace cosigner::supervisor {

/// In the order of the lines; empty: it can start. Binds and connects sockets for a moment; opens
/// and changes nothing else. While a node with this state directory runs, its own ports and socket
/// are not counted as in use. `running`: what the node that asks (at a reload) runs with, and whose
/// port and socket are its own wherever its state directory is to be next.
[[nodiscard]] std::vector<ConfigProblem> check_host(const Config& config,
                                                    std::vector<std::string>* untold = nullptr,
                                                    const Config* running = nullptr);

/// load_config(), then check_host(); `untold` and `running` as there.
[[nodiscard]] std::expected<Config, std::vector<ConfigProblem>> check_config(
    const std::string& path, std::vector<std::string>* untold = nullptr,
    const Config* running = nullptr);

}  // namespace cosigner::supervisor
