// An envelope and the request in it. A request that decodes is valid and encodes to one that
// decodes to the same.

#include "ipc/request.h"
#include "tests/fuzz/require.h"

using namespace cosigner;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  if (const auto request = decode_request(input)) {
    const auto again = decode_request(encode_request(*request));
    fuzz::require(again.has_value() && *again == *request);
  }
  const auto parsed = parse_request(input);
  if (parsed) {
    fuzz::require(parsed->session == session_of_refused(input));
  }
  static const InitiatorTable nobody;
  fuzz::require(!check_request(input, "demo", 0, nobody));
  return 0;
}
