#pragma once
// The subjects of one user on one node. The sender's node in them is whom its own nats-server lets
// it be, no more: the packet's certificate and signature, or its seal, must agree.
//
//   cosigner.<cluster>.user.<U>.<to>.<from>                 packets
//   cosigner.<cluster>.user.<U>.<self>.none.<to>.<packet>   the server's 503 for a packet of ours
//
// Two subscriptions, which have no subject in common; no node is called "none".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cosigner::worker {

class UserSubjects {
 public:
  UserSubjects(std::string_view cluster, std::string_view user, std::string_view self);

  [[nodiscard]] std::string packets() const { return own_ + '*'; }
  [[nodiscard]] std::string missed_packets() const { return own_ + "none.>"; }
  /// Where the user's worker on `node` listens to us.
  [[nodiscard]] std::string packet_to(std::string_view node) const;
  /// The reply subject of that packet.
  [[nodiscard]] std::string no_responders(std::string_view node, std::uint64_t packet) const;

  struct Incoming {
    std::string_view node;  ///< sender, or the receiver that was not there; points into the subject
    std::optional<std::uint64_t> missed_packet;  ///< set on the reply subject of a packet of ours
  };
  /// Nothing for a subject of another shape.
  [[nodiscard]] std::optional<Incoming> parse(std::string_view subject) const;

 private:
  std::string prefix_;  ///< cosigner.<cluster>.user.<U>.
  std::string self_;
  std::string own_;  ///< prefix_ <self>.
};

}  // namespace cosigner::worker
