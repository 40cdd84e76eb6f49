// The commands that make the cluster do something: they build and sign a request.

#include <unistd.h>

#include <algorithm>

#include "crypto/secp256k1/ecdsa.h"
#include "ipc/joined.h"
#include "ipc/key_file.h"
#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/status_line.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

/// Connected, with what is needed to build requests.
struct Client {
  ControlClient node;
  ClusterView cluster;
  IdentityKey initiator;
};

Outcome<Client> connect_client(const Context& context) {
  if (context.initiator_file.empty()) {
    return failed(ExitStatus::kConfiguration, ErrorCode::kUnauthorized,
                  "no initiator key given: requests are signed, use --initiator or "
                  "COSIGNER_INITIATOR.");
  }
  auto initiator = load_identity_file(context.initiator_file);
  if (!initiator) {
    return std::unexpected(Failure{ExitStatus::kConfiguration, initiator.error(), false});
  }
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  auto cluster = fetch_cluster(*node);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  return Client{std::move(*node), std::move(*cluster), std::move(*initiator)};
}

Outcome<Scheme> parse_scheme(const std::string& name) {
  const auto scheme = scheme_from_name(name);
  if (!scheme || !scheme_available(*scheme)) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  "no scheme '" + name + "': there are " + available_scheme_names() + ".");
  }
  return *scheme;
}

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  return static_cast<double>(took.count()) / 1000;
}

/// run_request(), and on a terminal for how long it has been waited for, from the first second on.
Outcome<Answered> run_request_aloud(ControlClient& node, PreparedRequest request,
                                    std::chrono::milliseconds timeout, const std::string& what) {
  StatusLine line;
  const auto limit = std::chrono::duration_cast<std::chrono::seconds>(timeout).count();
  return run_request(node, std::move(request), timeout, [&](std::chrono::seconds waited) {
    line.show(what + ": " + std::to_string(waited.count()) + " of at most " +
              std::to_string(limit) + " s");
  });
}

/// Of a failure after the cluster has done what it was asked to.
std::unexpected<Failure> after_execution(Failure failure) {
  failure.error.may_have_executed = true;
  return std::unexpected(std::move(failure));
}

/// Of a portion of presignatures that failed when others had been made before it.
std::unexpected<Failure> after_portions(Failure failure, std::uint64_t made, std::uint32_t wanted) {
  if (made == 0) {
    return std::unexpected(std::move(failure));
  }
  failure.error.message = "after " + std::to_string(made) + " of " + std::to_string(wanted) +
                          " presignatures were made: " + failure.error.message;
  return after_execution(std::move(failure));
}

/// The result is not of the kind that was asked for: the rules should have seen to that.
std::unexpected<Failure> strange_result() {
  return after_execution(failed(ExitStatus::kRefused, ErrorCode::kInternal,
                                "the cluster answered with a result of another operation.")
                             .error());
}

}  // namespace

Outcome<void> run_keygen(const Context& context, const KeygenArguments& arguments) {
  const auto scheme = parse_scheme(arguments.scheme);
  if (!scheme) {
    return std::unexpected(scheme.error());
  }
  auto client = connect_client(context);
  if (!client) {
    return std::unexpected(client.error());
  }
  SystemRandom random;
  Request request = new_request(client->cluster, client->initiator, Operation::kKeygen,
                                arguments.timeout, random);
  request.user = arguments.user;
  request.key = arguments.key;
  request.scheme = *scheme;
  request.threshold =
      arguments.threshold != 0 ? arguments.threshold : client->cluster.default_threshold;
  if (request.threshold == 0) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  "how many nodes are to sign together? Use --threshold, or set default_threshold "
                  "in the node's cosigner.toml.");
  }
  const std::uint16_t threshold = request.threshold;
  request.participants = arguments.participants;
  if (request.participants.empty()) {
    for (const ipc::Peer& peer : client->cluster.nodes) {
      request.participants.push_back(peer.node);
    }
  }
  std::ranges::sort(request.participants);  // the order is part of the request's form
  const std::vector<std::string> participants = request.participants;

  const auto begin = std::chrono::steady_clock::now();
  auto prepared = prepare(client->cluster, client->initiator, std::move(request), std::nullopt);
  if (!prepared) {
    return std::unexpected(prepared.error());
  }
  const auto answered =
      run_request_aloud(client->node, std::move(*prepared), arguments.timeout, "making the key");
  if (!answered) {
    return std::unexpected(answered.error());
  }
  const auto* result = std::get_if<KeygenResult>(&answered->answer.content);
  if (result == nullptr) {
    return strange_result();
  }
  if (context.json) {
    context.out << Json{{"public_key", to_hex(result->public_key)},
                        {"user", arguments.user},
                        {"key", arguments.key},
                        {"scheme", scheme_name(result->scheme)},
                        {"epoch", result->epoch},
                        {"threshold", threshold},
                        {"participants", participants},
                        {"session", to_hex(answered->answer.session)},
                        {"answered_by", answered->by},
                        {"record", to_hex(result->record)},
                        {"milliseconds", milliseconds_since(begin)}}
                       .dump()
                << "\n";
    return {};
  }
  Table table({"user", arguments.user});
  table.row({"key", arguments.key});
  table.row({"scheme", std::string(scheme_name(result->scheme))});
  table.row({"threshold", std::to_string(threshold) + " of " + std::to_string(participants.size()) +
                              " (" + joined(participants) + ")"});
  table.row({"public key", to_hex(result->public_key)});
  context.out << table.text();
  return {};
}

namespace {

/// What the scheme decides: the key that is expected to sign, and whether the options fit it.
Outcome<Request> sign_fields(Request request, const SignArguments& arguments,
                             std::optional<KeyView>& key, ByteVector bytes) {
  request.user = arguments.user;
  request.key = arguments.key;
  // The scheme belongs to the request; where this node does not know the key, the options tell, and
  // a node that does know it will say so.
  const bool ecdsa = arguments.path || arguments.input.is_digest || arguments.input.hash;
  request.scheme = key ? key->scheme : ecdsa ? Scheme::kEcdsaSecp256k1 : Scheme::kEd25519;
  if (auto fits = check_signature_format(arguments.format, request.scheme); !fits) {
    return std::unexpected(fits.error());
  }
  auto message = message_to_sign(arguments.input, request.scheme, std::move(bytes));
  if (!message) {
    return std::unexpected(message.error());
  }
  request.message = *std::move(message);
  request.path = arguments.path.value_or(bip32::Path());
  if (key && !request.path.empty() && request.scheme == Scheme::kEcdsaSecp256k1) {
    if (!key->chain_code) {
      return failed(ExitStatus::kRefused, ErrorCode::kUnsupportedVersion,
                    "this node does not report the key's chain code: it is of an older release.");
    }
    auto derived = bip32::derive_public_key(key->public_key, *key->chain_code, request.path);
    if (!derived) {
      return failed(ExitStatus::kUsage, ErrorCode::kBadRequest, derived.error().reason + ".");
    }
    key->public_key = *std::move(derived);
  }
  return request;
}

Json sign_json(const SignArguments& arguments, const SignResult& result) {
  Json out{{"signature", to_hex(result.signature)},
           {"public_key", to_hex(result.public_key)},
           {"user", arguments.user},
           {"key", arguments.key},
           {"scheme", scheme_name(result.scheme)},
           {"epoch", result.epoch}};
  if (result.scheme == Scheme::kEcdsaSecp256k1) {
    if (const auto decoded = secp256k1::EcdsaSignature::decode(result.signature)) {
      out["path"] = bip32::path_text(arguments.path.value_or(bip32::Path()));
      out["r"] = to_hex(decoded->r);
      out["s"] = to_hex(decoded->s);
      out["recovery_id"] = decoded->recovery_id;
      out["der"] = to_hex(decoded->der());
    }
  }
  return out;
}

}  // namespace

Outcome<void> run_sign(const Context& context, const SignArguments& arguments) {
  auto bytes = read_message(arguments.input.source);
  if (!bytes) {
    return std::unexpected(bytes.error());
  }
  if (!arguments.out_file.empty()) {
    if (auto writable = check_writable(arguments.out_file); !writable) {
      return writable;
    }
  }
  auto client = connect_client(context);
  if (!client) {
    return std::unexpected(client.error());
  }
  auto key = fetch_key(client->node, arguments.user, arguments.key);
  if (!key) {
    return std::unexpected(key.error());
  }
  SystemRandom random;
  auto request = sign_fields(
      new_request(client->cluster, client->initiator, Operation::kSign, arguments.timeout, random),
      arguments, *key, *std::move(bytes));
  if (!request) {
    return std::unexpected(request.error());
  }

  const auto begin = std::chrono::steady_clock::now();
  auto prepared = prepare(client->cluster, client->initiator, *std::move(request), *key);
  if (!prepared) {
    return std::unexpected(prepared.error());
  }
  const auto answered =
      run_request_aloud(client->node, std::move(*prepared), arguments.timeout, "signing");
  if (!answered) {
    return std::unexpected(answered.error());
  }
  const auto* result = std::get_if<SignResult>(&answered->answer.content);
  if (result == nullptr) {
    return strange_result();
  }
  const auto signature = write_signature(result->scheme, result->signature, arguments.format);
  if (!signature) {
    return after_execution(signature.error());
  }
  if (!arguments.out_file.empty()) {
    if (auto written = write_file(arguments.out_file, *signature); !written) {
      written.error().error.message += " The signature: " + to_hex(result->signature);
      return after_execution(written.error());
    }
  }
  if (context.json) {
    Json out = sign_json(arguments, *result);
    out["session"] = to_hex(answered->answer.session);
    out["answered_by"] = answered->by;
    out["milliseconds"] = milliseconds_since(begin);
    context.out << out.dump() << "\n";
  } else if (arguments.out_file.empty()) {
    context.out << *signature;
  }
  return {};
}

Outcome<void> run_presign(const Context& context, const PresignArguments& arguments) {
  constexpr std::uint32_t kAskedAtOnce = 120;
  auto client = connect_client(context);
  if (!client) {
    return std::unexpected(client.error());
  }
  auto key = fetch_key(client->node, arguments.user, arguments.key);
  if (!key) {
    return std::unexpected(key.error());
  }
  if (*key) {
    // A node that is away makes none, and is not waited for.
    const auto present = fetch_present(client->node);
    if (!present) {
      return std::unexpected(present.error());
    }
    std::erase_if((*key)->participants,
                  [&](const std::string& node) { return !present->contains(node); });
  }
  SystemRandom random;
  StatusLine line;
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t made = 0;
  std::uint64_t ready = 0;
  std::string answered_by;
  for (std::uint32_t asked = 0; asked < arguments.count && !context.interrupted;) {
    const std::uint32_t portion = std::min(kAskedAtOnce, arguments.count - asked);
    Request request = new_request(client->cluster, client->initiator, Operation::kPresign,
                                  arguments.timeout, random);
    request.user = arguments.user;
    request.key = arguments.key;
    request.scheme = Scheme::kEcdsaSecp256k1;
    request.count = portion;
    auto prepared = prepare(client->cluster, client->initiator, std::move(request), *key);
    if (!prepared) {
      return after_portions(prepared.error(), made, arguments.count);
    }
    const auto answered = run_request(client->node, std::move(*prepared), arguments.timeout);
    if (!answered) {
      line.keep();
      return after_portions(answered.error(), made, arguments.count);
    }
    const auto* result = std::get_if<PresignResult>(&answered->answer.content);
    if (result == nullptr) {
      return after_portions(strange_result().error(), made, arguments.count);
    }
    asked += portion;
    made += result->made;
    ready = result->ready;
    answered_by = answered->by;
    line.show(std::to_string(made) + " of " + std::to_string(arguments.count) + " presignatures");
  }
  line.show({});
  if (context.json) {
    context.out << Json{{"user", arguments.user},
                        {"key", arguments.key},
                        {"asked", arguments.count},
                        {"made", made},
                        {"ready", ready},
                        {"answered_by", answered_by},
                        {"milliseconds", milliseconds_since(begin)}}
                       .dump()
                << "\n";
  } else {
    context.out << made << " presignatures made, " << ready << " ready (" << answered_by << ")\n";
  }
  return {};
}

Outcome<void> run_bench(const Context& context, BenchKind kind, const std::string& scheme,
                        BenchOptions options) {
  const auto parsed = parse_scheme(scheme);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  options.scheme = *parsed;
  if (options.presigned && options.scheme != Scheme::kEcdsaSecp256k1) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  "only ecdsa-secp256k1 has presignatures.");
  }
  if (options.presigned && options.duration_s) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  "--presigned makes its presignatures first: say for how many signatures with "
                  "--count, and leave out --duration.");
  }
  if (options.latencies && !context.json) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  "--latencies adds to the JSON object: say --json too.");
  }
  options.progress = ::isatty(STDERR_FILENO) == 1;
  if (options.evict_sockets.empty()) {
    options.evict_sockets.push_back(context.socket);
  }
  auto client = connect_client(context);
  if (!client) {
    return std::unexpected(client.error());
  }
  SystemRandom random;
  const BenchContext bench{client->node, client->cluster, client->initiator, random,
                           context.interrupted};
  const auto report = options.presigned            ? bench_sign_presigned(bench, options)
                      : kind == BenchKind::kSign   ? bench_sign(bench, options)
                      : kind == BenchKind::kKeygen ? bench_keygen(bench, options)
                                                   : bench_first_signature(bench, options);
  if (!report) {
    return std::unexpected(report.error());
  }
  context.out << (context.json ? report->json().dump() + "\n" : report->text());
  context.out.flush();
  auto failure = report->failure();
  return failure ? Outcome<void>(std::unexpected(*std::move(failure))) : Outcome<void>();
}

}  // namespace cosigner::ctl
