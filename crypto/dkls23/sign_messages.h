#pragma once
// The messages of ECDSA signing and presigning, each with its encoding and its validation. Decoding
// looks at public bytes only; whatever it refuses is recoverable.

#include "crypto/base/abort.h"
#include "crypto/base/wire.h"
#include "crypto/dkls23/presignature.h"
#include "crypto/dkls23/vole.h"
#include "crypto/protocol/inbox.h"

namespace cosigner::dkls23 {

/// Round 0, to everyone, in the rendezvous: nonce ‖ com. Only its length can be wrong.
struct SignHello {
  static constexpr std::size_t kEncodedSize = 64;
  Bytes<32> nonce;    ///< fresh: makes the session id fresh for its sender
  Digest commitment;  ///< to R_i

  [[nodiscard]] ByteVector encode() const { return Writer().fixed(nonce).fixed(commitment).take(); }
  [[nodiscard]] static Result<SignHello> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    SignHello out;
    out.nonce = reader.take<Bytes<32>>();
    out.commitment = reader.take<Digest>();
    if (!reader.finished()) {
      return malformed(from, "a signing hello of the wrong length");
    }
    return out;
  }
};

/// Round 1, VOLE receiver to VOLE sender: echo ‖ pair id ‖ OT extension message, 6,480 bytes.
struct SignRound1 {
  static constexpr std::uint8_t kRound = 1;
  static constexpr std::size_t kEncodedSize = 32 + 32 + kOtMessageBytes;
  Digest echo;
  Digest pair;
  ByteView ot_message;  ///< a view into the encoding

  [[nodiscard]] ByteVector encode() const {
    return Writer().fixed(echo).fixed(pair).fixed(ot_message).take();
  }
  [[nodiscard]] static Result<SignRound1> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    SignRound1 out;
    out.echo = reader.take<Digest>();
    out.pair = reader.take<Digest>();
    out.ot_message = reader.fixed(kOtMessageBytes);
    if (!reader.finished()) {
      return malformed(from, "a round 1 message of the wrong length");
    }
    return out;
  }
};

/// Round 2, to each: echo ‖ R_i ‖ ρ_i ‖ pk_i ‖ Γ^u ‖ Γ^v ‖ ψ ‖ VOLE message, 40,228 bytes.
struct SignRound2 {
  static constexpr std::uint8_t kRound = 2;
  static constexpr std::size_t kEncodedSize = 32 + 33 + 32 + 3 * 33 + 32 + kVoleMessageBytes;
  Digest echo;
  secp256k1::Point nonce;      ///< R_i
  Bytes<32> blinding;          ///< ρ_i: opens the hello's commitment
  secp256k1::Point key_share;  ///< pk_i
  secp256k1::Point gamma_u;    ///< c^u·G
  secp256k1::Point gamma_v;    ///< c^v·G
  Scalar psi;                  ///< φ_i − χ
  ByteView vole_message;       ///< a view into the encoding

  [[nodiscard]] ByteVector encode() const {
    Writer writer;
    writer.fixed(echo).fixed(nonce.encode()).fixed(blinding).fixed(key_share.encode());
    writer.fixed(gamma_u.encode()).fixed(gamma_v.encode()).fixed(psi.encode());
    return writer.fixed(vole_message).take();
  }
  [[nodiscard]] static Result<SignRound2> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    const Digest echo = reader.take<Digest>();
    const auto nonce = secp256k1::Point::decode(reader.fixed(33));
    const Bytes<32> blinding = reader.take<Bytes<32>>();
    const auto key_share = secp256k1::Point::decode(reader.fixed(33));
    const auto gamma_u = secp256k1::Point::decode(reader.fixed(33));
    const auto gamma_v = secp256k1::Point::decode(reader.fixed(33));
    const auto psi = Scalar::decode(reader.fixed(32));
    const ByteView vole_message = reader.fixed(kVoleMessageBytes);
    if (!reader.finished() || !nonce || !key_share || !gamma_u || !gamma_v || !psi) {
      return malformed(from, "a round 2 message that does not parse");
    }
    return SignRound2{echo, *nonce, blinding, *key_share, *gamma_u, *gamma_v, *psi, vole_message};
  }
};

/// The last round, signer to assembler: echo ‖ w ‖ u, 96 bytes. Round 3 of signing, round 1 of
/// signing with a presignature.
struct SignLastRound {
  static constexpr std::size_t kEncodedSize = 32 + SignatureShare::kEncodedSize;
  Digest echo;
  SignatureShare share;

  [[nodiscard]] ByteVector encode() const {
    ByteVector out = to_vector(echo);
    share.write(out);
    return out;
  }
  [[nodiscard]] static Result<SignLastRound> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    const Digest echo = reader.take<Digest>();
    const auto share = SignatureShare::decode(reader.fixed(SignatureShare::kEncodedSize));
    if (!reader.finished() || !share) {
      return malformed(from, "a signature share that does not parse");
    }
    return SignLastRound{echo, *share};
  }
};

/// At the assembler: its own share and those of all peers' last round, every one of them made in
/// the session that `echo` stands for.
[[nodiscard]] inline Result<std::vector<SignatureShare>> collect_shares(const Inbox& inbox,
                                                                        std::uint8_t round,
                                                                        const Digest& echo,
                                                                        const SignatureShare& own) {
  std::vector<SignatureShare> shares{own};
  for (const ParticipantIndex index : inbox.peers()) {
    const Result<SignLastRound> message = SignLastRound::decode(inbox.payload(index, round), index);
    if (!message) {
      return std::unexpected(message.error());
    }
    if (message->echo != echo) {
      return recoverable("participant " + std::to_string(index) + " saw another session than we");
    }
    shares.push_back(message->share);
  }
  return shares;
}

}  // namespace cosigner::dkls23
