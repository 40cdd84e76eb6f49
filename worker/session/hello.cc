#include "worker/session/hello.h"

#include "crypto/base/hash.h"

namespace cosigner::worker {

Digest hello_digest(std::string_view cluster, std::string_view user, ByteView body) {
  return TaggedHash(tag::kHello).part(cluster).part(user).part(body).finish();
}

}  // namespace cosigner::worker
