#pragma once
// What travels between two workers of one user, as one NATS message each: the packets. A sealed one
// holds messages (session_messages.h, presign_messages.h).
//
// A packet is one of (payload of one NATS message, all integers big-endian):
//   hello     u8 version ‖ u8 1 ‖ SignedHello                    clear, signed by the worker's key
//   sealed    u8 version ‖ u8 2 ‖ u64 sender generation ‖ u64 recipient generation
//             ‖ bytes certificate (may be empty) ‖ u64 sequence ‖ ciphertext
//             everything before the sequence is associated data; the channel authenticates the
//             sequence and both ends itself
//   greeting  u8 version ‖ u8 3 ‖ u8 answer wanted ‖ bytes certificate    clear, proves itself

#include <cstdint>
#include <optional>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"
#include "worker/session/hello.h"

namespace cosigner::worker {

inline constexpr std::uint8_t kPacketVersion = 1;

enum class PacketKind : std::uint8_t { kHello = 1, kSealed = 2, kGreeting = 3 };

inline constexpr std::size_t kMaxAcksPerPacket = 1024;
inline constexpr std::size_t kMaxMessagesPerPacket = 1024;

[[nodiscard]] ByteVector encode_hello_packet(const SignedHello& hello);
[[nodiscard]] ByteVector encode_greeting(bool answer_wanted, ByteView certificate);

struct Greeting {
  bool answer_wanted = false;
  ByteVector certificate;
};
/// Views into the packet.
struct SealedPacket {
  std::uint64_t sender_generation = 0;
  std::uint64_t recipient_generation = 0;
  ByteView certificate;
  std::uint64_t sequence = 0;
  ByteView associated;
  ByteView ciphertext;
};
/// Nothing unless version and kind are ours.
[[nodiscard]] std::optional<PacketKind> packet_kind(ByteView packet);
[[nodiscard]] std::optional<SignedHello> decode_hello_packet(ByteView packet);
[[nodiscard]] std::optional<Greeting> decode_greeting(ByteView packet);
[[nodiscard]] std::optional<SealedPacket> decode_sealed(ByteView packet);

/// Everything of a sealed packet before its sequence number: the associated data.
[[nodiscard]] ByteVector sealed_header(std::uint64_t sender_generation,
                                       std::uint64_t recipient_generation, ByteView certificate);

/// What a sealed packet holds.
struct PacketContents {
  bool acknowledge = false;  ///< the receiver is to acknowledge this packet's sequence number
  std::vector<std::uint64_t> acknowledged;  ///< sequence numbers the sender has received
  std::vector<ByteView> messages;           ///< views into the plaintext, each u8 kind ‖ fields
};
[[nodiscard]] SecretVector encode_contents(bool acknowledge,
                                           const std::vector<std::uint64_t>& acknowledged,
                                           const std::vector<ByteVector>& messages);
[[nodiscard]] std::optional<PacketContents> decode_contents(ByteView plain);

}  // namespace cosigner::worker
