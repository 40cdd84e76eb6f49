#pragma once
// Where sessions get their protocol objects from: the schemes of crypto/protocol, or, in tests, the
// same with faults injected.

#include <memory>

#include "crypto/protocol/protocol.h"

namespace cosigner::worker {

class ProtocolFactory {
 public:
  virtual ~ProtocolFactory() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<Protocol>> keygen(const KeygenParameters& parameters,
                                                                 Random& random) {
    return make_keygen(parameters, random);
  }
  [[nodiscard]] virtual Result<std::unique_ptr<Protocol>> sign(SignParameters parameters,
                                                               Random& random) {
    return make_sign(std::move(parameters), random);
  }
};

}  // namespace cosigner::worker
