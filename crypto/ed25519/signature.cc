#include "crypto/ed25519/signature.h"

#include <sodium.h>

#include "crypto/ed25519/group.h"

namespace cosigner::ed25519 {

bool verify_vartime(ByteView key, ByteView message, ByteView signature) {
  return key.size() == kPointSize && signature.size() == kSignatureSize &&
         crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     key.data()) == 0;
}

}  // namespace cosigner::ed25519
