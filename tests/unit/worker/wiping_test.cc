// The memory of real worker processes, searched from outside: an open key's secrets are there once,
// and a signature leaves no second copy.
// Only what this test knows can be searched for, and a worker's random numbers are the system's:
// what workers draw for a session is searched for in nonce_wiping_test.cc, with a program that
// tells.
#include <catch2/catch.hpp>

#include "tests/support/secret_patterns.h"
#include "tests/unit/worker/two_nodes.h"

#ifndef COSIGNER_SANITIZED
using namespace cosigner;
using namespace cosigner::test;

TEST_CASE(
    "checklist: wiping: a real worker keeps an open key's secrets once, and signing adds no "
    "copy (canary scan of the process)",
    "[wiping]") {
  TwoNodes nodes(Scheme::kEcdsaSecp256k1);
  TwoWorkers workers = nodes.workers();
  TestChild& first = workers[0];
  MemoryScan scan;
  add_key_secrets(scan, as_view(nodes.made.key(1).secret), {2});
  // Before its first use the key is sealed: nothing of it is in the clear.
  const auto before = scan.search(first.pid());
  if (!before) {
    WARN("skipped: /proc/PID/mem of a worker may be read by root only");
    return;
  }
  CHECK(before->empty());
  for (std::uint8_t fill = 1; fill <= 8; ++fill) {
    const SignedRequest request = nodes.sign_request_for(fill);
    workers.ask(0, request);
    workers.ask(1, request);
    workers.wait_for_answers();
    nodes.check_signatures(workers, fill);
  }
  workers.wait_for_rest();
  const std::size_t size = nodes.made.key(1).secret.size();
  auto found = scan.search(first.pid()).value();
  INFO(scan.places());
  CHECK(scan.bytes_searched() > 1'000'000);
  CHECK(found["share"] == 1);
  CHECK(found["delta"] == 1);
  CHECK(found["leaf"] == 2);
  CHECK(found["seed"] == 1);
  CHECK(strays(scan, size) == 0);
  // Evicted, the process is gone and its memory with it; the next worker has only sealed bytes.
  first.send(ipc::EvictAsk{.ask = 1});
  CHECK(first.expect<ipc::EvictReply>().agree);
  CHECK(first.reap() == 0);
  TestChild next = nodes.worker(0, 3);
  CHECK(scan.search(next.pid()).value().empty());
}
#endif
