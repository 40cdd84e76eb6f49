#pragma once
// A signer's nonces (RFC 9591 §5.1) as a one-time token, and their public commitments, which are
// the hello of a signing attempt: enc(D) ‖ enc(E).

#include <optional>

#include "crypto/base/abort.h"
#include "crypto/base/wire.h"
#include "crypto/frost/suite.h"

namespace cosigner {

/// (D, E) as they travel. Encodings only: FrostSession validates each point exactly once, where it
/// is used.
template <FrostSuite Suite>
struct FrostCommitments {
  static constexpr std::size_t kPointSize = Suite::Group::kPointSize;
  static constexpr std::size_t kEncodedSize = 2 * kPointSize;

  Bytes<kPointSize> hiding;   ///< D = d·G
  Bytes<kPointSize> binding;  ///< E = e·G

  [[nodiscard]] ByteVector encode() const { return Writer().fixed(hiding).fixed(binding).take(); }
  [[nodiscard]] static Result<FrostCommitments> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    FrostCommitments out;
    out.hiding = reader.take<Bytes<kPointSize>>();
    out.binding = reader.take<Bytes<kPointSize>>();
    if (!reader.finished()) {
      return malformed(from, "nonce commitments of the wrong length");
    }
    return out;
  }
  friend bool operator==(const FrostCommitments&, const FrostCommitments&) = default;
};

template <FrostSuite Suite>
class FrostSession;

/// (d, e), used for one signature share. Move-only; FrostSession::sign() takes it by value, so that
/// it is wiped when that call returns, whatever the call's result. It has no encoding.
template <FrostSuite Suite>
class FrostNonce {
 public:
  using Group = typename Suite::Group;
  using SecretScalar = typename Group::SecretScalar;

  [[nodiscard]] static FrostNonce generate(const SecretScalar& share, Random& random) {
    for (;;) {  // d = 0 or e = 0 comes up with probability 2^-251
      auto nonce = derive(random.secret<32>(), random.secret<32>(), share);
      if (nonce) {
        return std::move(*nonce);
      }
    }
  }
  /// Nothing when d or e is zero. Public for the RFC's test vectors; the randomness must be fresh.
  [[nodiscard]] static std::optional<FrostNonce> derive(const SecretBytes<32>& hiding_randomness,
                                                        const SecretBytes<32>& binding_randomness,
                                                        const SecretScalar& share) {
    FrostNonce out;
    out.hiding_ = Suite::nonce(hiding_randomness, share);
    out.binding_ = Suite::nonce(binding_randomness, share);
    const auto hiding = Group::multiply_base(out.hiding_);
    const auto binding = Group::multiply_base(out.binding_);
    if (!hiding || !binding) {
      return std::nullopt;
    }
    out.commitments_.hiding = *Bytes<Group::kPointSize>::from(Group::encode(*hiding));
    out.commitments_.binding = *Bytes<Group::kPointSize>::from(Group::encode(*binding));
    return out;
  }

  FrostNonce(FrostNonce&&) noexcept = default;
  FrostNonce& operator=(FrostNonce&&) noexcept = default;

  [[nodiscard]] const FrostCommitments<Suite>& commitments() const { return commitments_; }

 private:
  friend class FrostSession<Suite>;
  FrostNonce() = default;
  SecretScalar hiding_;
  SecretScalar binding_;
  FrostCommitments<Suite> commitments_;
};

}  // namespace cosigner
