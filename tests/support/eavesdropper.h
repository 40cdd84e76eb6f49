#pragma once
// Everything a node says to anyone in sealed packets, read with its own keys. For
// EngineCluster::filter; what it reads goes through unchanged.

#include <string>
#include <utility>
#include <vector>

#include "tests/support/double_agent.h"

namespace cosigner::test {

class Eavesdropper {
 public:
  Eavesdropper(EngineCluster& cluster, const std::string& node)
      : agent_(cluster, node, [this](const std::string& to, std::vector<ByteVector>& messages) {
          for (const ByteVector& message : messages) {
            heard.emplace_back(to, message);
          }
        }) {}
  Eavesdropper(const Eavesdropper&) = delete;
  Eavesdropper& operator=(const Eavesdropper&) = delete;

  bool operator()(const std::string& from, const std::string& to, ByteVector& packet) {
    return agent_(from, to, packet);
  }

  std::vector<std::pair<std::string, ByteVector>> heard;  ///< to whom, what; each message once

 private:
  DoubleAgent agent_;
};

}  // namespace cosigner::test
