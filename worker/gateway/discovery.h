#pragma once
// NATS service discovery (ADR-32 of the NATS project): what a gateway says of its node when
// `nats micro ls`, `info` and `stats` ask on $SRV.PING, $SRV.INFO and $SRV.STATS. Pure: subjects
// in, JSON out. Anybody on the broker may ask, so it tells nothing that a client does not see
// anyway.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cosigner::worker {

class Discovery {
 public:
  /// Of every node of every cluster; metadata tells them apart.
  static constexpr std::string_view kService = "cosigner";

  Discovery(std::string cluster, std::string node, std::uint64_t generation,
            std::uint64_t started_wall_ms);

  /// What the STATS of the one endpoint count.
  void answered(std::uint64_t processing_ns) {
    ++requests_;
    processing_ns_ += processing_ns;
  }
  void refused(std::string_view error) {
    ++requests_;
    ++errors_;
    last_error_ = error;
  }

  /// The reply to a request on this subject; nothing if it is for another service or no such.
  [[nodiscard]] std::optional<std::string> answer(std::string_view subject) const;
  /// "node1-17": this service's instance.
  [[nodiscard]] const std::string& id() const { return id_; }

 private:
  [[nodiscard]] std::string head(std::string_view type) const;

  std::string cluster_;
  std::string node_;
  std::string id_;
  std::string started_;  ///< RFC 3339, UTC
  std::uint64_t requests_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t processing_ns_ = 0;
  std::string last_error_;
};

}  // namespace cosigner::worker
