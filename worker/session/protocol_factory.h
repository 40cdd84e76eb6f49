#pragma once
// Where sessions get their protocol objects from, and which versions of the session protocol they
// speak: the schemes of crypto/protocol, or, in tests, the same with faults injected, or of another
// release.

#include <memory>

#include "crypto/dkls23/ecdsa.h"
#include "crypto/protocol/protocol.h"
#include "worker/session/hello.h"

namespace cosigner::worker {

class ProtocolFactory {
 public:
  virtual ~ProtocolFactory() = default;
  [[nodiscard]] virtual VersionRange versions() const { return {}; }
  [[nodiscard]] virtual Result<std::unique_ptr<Protocol>> keygen(const KeygenParameters& parameters,
                                                                 Random& random) {
    return make_keygen(parameters, random);
  }
  [[nodiscard]] virtual Result<std::unique_ptr<Protocol>> sign(SignParameters parameters,
                                                               Random& random) {
    return make_sign(std::move(parameters), random);
  }
  [[nodiscard]] virtual Result<std::unique_ptr<dkls23::PresignProtocol>> presign(
      SignParameters parameters, Random& random) {
    return dkls23::make_presign(std::move(parameters), random);
  }
  [[nodiscard]] virtual Result<std::unique_ptr<Protocol>> presigned(
      SignParameters parameters, dkls23::Presignature presignature, const Bytes<32>& nonce) {
    return dkls23::make_presigned_sign(std::move(parameters), std::move(presignature), nonce);
  }
  [[nodiscard]] virtual Result<std::unique_ptr<Protocol>> renewal(
      dkls23::RenewalParameters parameters, Random& random) {
    return dkls23::make_renewal(std::move(parameters), random);
  }
};

}  // namespace cosigner::worker
