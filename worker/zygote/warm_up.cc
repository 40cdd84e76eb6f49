#include "worker/zygote/warm_up.h"

#include <malloc.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <sodium.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "crypto/base/hash.h"
#include "crypto/base/seal.h"
#include "crypto/ed25519/self_test.h"
#include "crypto/identity/ed25519_key.h"
#include "crypto/secp256k1/context.h"
#include "ipc/worker_exit.h"

namespace cosigner::worker {
namespace {

// Room enough for getaddrinfo, the deepest thing that runs beside the main thread: on the link
// thread, which connects, and signs the broker's nonce. The uv loop and all other cryptography run
// on the main thread.
constexpr std::size_t kThreadStackBytes = 256U << 10;

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "cosigner-worker: self-test failed: %s\n", why.c_str());
  ::_exit(ipc::kExitSelfTest);
}
void require(bool works, const char* what) {
  if (!works) {
    refuse(std::string(what) + " does not work");
  }
}

}  // namespace

void configure_memory() {
  mallopt(M_ARENA_MAX, 1);               // otherwise each thread of a child gets an arena
  mallopt(M_TRIM_THRESHOLD, 128 << 10);  // give back what a burst has used
  mallopt(M_MMAP_THRESHOLD, 256 << 10);  // fixed: large frames never settle in the heap
#ifndef COSIGNER_SANITIZED               // sanitizers need more stack, and know best how much
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) == 0) {
    pthread_attr_setstacksize(&attributes, kThreadStackBytes);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
  }
#endif
}

void warm_up() {
  if (sodium_init() < 0) {
    refuse("libsodium does not initialise");
  }
  if (const auto wrong = ed25519::self_test()) {
    refuse("libsodium: " + *wrong);
  }
  SystemRandom random;
  const Ed25519SecretKey signing = ed25519_generate(random);
  const Digest digest = TaggedHash(tag::kFingerprint).part("warm").finish();
  const Ed25519Signature signature = ed25519_sign(signing, digest);
  require(ed25519_verify(ed25519_public_key(signing), digest, signature), "Ed25519");

  const auto secret = random.secret<32>();
  require(x25519(secret, x25519_public_key(secret)).has_value(), "X25519");

  AeadKey key;
  hkdf_sha256(secret.expose(), as_bytes("salt"), as_bytes("info"), key.expose_mutable());
  const AeadNonce nonce{};
  require(aead_open(key, nonce, {}, aead_seal(key, nonce, {}, digest)).has_value(), "AES-256-GCM");

  std::uint8_t drawn[32];
  require(RAND_bytes(drawn, sizeof drawn) == 1, "OpenSSL's generator");

  secp256k1_pubkey point;
  require(secp256k1_ec_pubkey_create(secp256k1::context(), &point, secret.expose().data()) == 1,
          "libsecp256k1");
}

void reseed() {
  SystemRandom random;
  const auto fresh = random.secret<48>();
  RAND_seed(fresh.expose().data(), static_cast<int>(fresh.expose().size()));
  RAND_poll();
  randombytes_stir();
  secp256k1::reblind_context(random);
}

}  // namespace cosigner::worker
