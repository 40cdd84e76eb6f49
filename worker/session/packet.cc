#include "worker/session/packet.h"

#include "worker/session/message_fields.h"
#include "worker/session/session_messages.h"

namespace cosigner::worker {

namespace {

constexpr std::size_t kPrefixBytes = 2;  // version, kind
constexpr std::size_t kMaxMessageSize = kMaxRoundPayload + (64U << 10);

void put_prefix(Writer& writer, PacketKind kind) {
  writer.u8(kPacketVersion).u8(static_cast<std::uint8_t>(kind));
}

}  // namespace

std::optional<PacketKind> packet_kind(ByteView packet) {
  if (packet.size() < kPrefixBytes || packet[0] != kPacketVersion) {
    return std::nullopt;
  }
  switch (static_cast<PacketKind>(packet[1])) {
    case PacketKind::kHello:
    case PacketKind::kSealed:
    case PacketKind::kGreeting:
      return static_cast<PacketKind>(packet[1]);
  }
  return std::nullopt;
}

ByteVector encode_hello_packet(const SignedHello& hello) {
  FieldWriter writer;
  put_prefix(writer.writer(), PacketKind::kHello);
  SignedHello::fields(hello, writer);
  return writer.writer().take();
}

std::optional<SignedHello> decode_hello_packet(ByteView packet) {
  return decode_fields<SignedHello>(packet.subspan(kPrefixBytes));
}

ByteVector encode_greeting(bool answer_wanted, ByteView certificate) {
  Writer writer;
  put_prefix(writer, PacketKind::kGreeting);
  writer.u8(answer_wanted ? 1 : 0).bytes(certificate);
  return writer.take();
}

std::optional<Greeting> decode_greeting(ByteView packet) {
  Reader reader(packet.subspan(kPrefixBytes));
  const std::uint8_t wanted = reader.u8();
  Greeting greeting{wanted == 1, to_vector(reader.bytes(kMaxCertificateBytes))};
  if (wanted > 1 || !reader.finished()) {
    return std::nullopt;
  }
  return greeting;
}

ByteVector sealed_header(std::uint64_t sender_generation, std::uint64_t recipient_generation,
                         ByteView certificate) {
  Writer writer;
  put_prefix(writer, PacketKind::kSealed);
  writer.u64(sender_generation).u64(recipient_generation).bytes(certificate);
  return writer.take();
}

std::optional<SealedPacket> decode_sealed(ByteView packet) {
  Reader reader(packet.subspan(kPrefixBytes));
  SealedPacket sealed;
  sealed.sender_generation = reader.u64();
  sealed.recipient_generation = reader.u64();
  sealed.certificate = reader.bytes(kMaxCertificateBytes);
  sealed.associated = packet.first(packet.size() - reader.remaining());
  sealed.sequence = reader.u64();
  sealed.ciphertext = reader.fixed(reader.remaining());
  if (!reader.finished()) {
    return std::nullopt;
  }
  return sealed;
}

SecretVector encode_contents(bool acknowledge, const std::vector<std::uint64_t>& acknowledged,
                             const std::vector<ByteVector>& messages) {
  // Written by hand into one allocation of the right size: a round's payload may be secret, and
  // growing would leave copies.
  std::size_t size = 1 + 2 + 8 * acknowledged.size() + 2;
  for (const ByteVector& message : messages) {
    size += 4 + message.size();
  }
  SecretVector out;
  out.reserve(size);
  const auto put = [&out](std::uint64_t value, unsigned bytes) {
    for (unsigned i = bytes; i-- > 0;) {
      out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
  };
  put(acknowledge ? 1 : 0, 1);
  put(acknowledged.size(), 2);
  for (const std::uint64_t sequence : acknowledged) {
    put(sequence, 8);
  }
  put(messages.size(), 2);
  for (const ByteVector& message : messages) {
    put(message.size(), 4);
    out.insert(out.end(), message.begin(), message.end());
  }
  return out;
}

std::optional<PacketContents> decode_contents(ByteView plain) {
  Reader reader(plain);
  PacketContents contents;
  const std::uint8_t flags = reader.u8();
  contents.acknowledge = flags == 1;
  const std::size_t acks = reader.count_u16(0, kMaxAcksPerPacket);
  contents.acknowledged.reserve(acks);
  for (std::size_t i = 0; i < acks && reader.ok(); ++i) {
    contents.acknowledged.push_back(reader.u64());
  }
  const std::size_t count = reader.count_u16(0, kMaxMessagesPerPacket);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    const ByteView message = reader.bytes(kMaxMessageSize);
    if (message.empty()) {
      reader.fail();
    }
    contents.messages.push_back(message);
  }
  if (flags > 1 || !reader.finished()) {
    return std::nullopt;
  }
  return contents;
}

}  // namespace cosigner::worker
