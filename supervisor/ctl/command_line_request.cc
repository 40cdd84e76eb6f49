// Commands that ask the cluster for something: keys, signatures, presignatures, and their speed.

#include <CLI/CLI.hpp>

#include "supervisor/ctl/command_line.h"

namespace cosigner::ctl {
namespace {

void add_threshold(CLI::App* command, std::uint16_t& threshold) {
  command
      ->add_option("--threshold", threshold,
                   "how many nodes sign together (t of n, 2 or more; keygen: else the node's "
                   "default_threshold)")
      ->envname("COSIGNER_THRESHOLD");
}

Outcome<void> sign_as_told(const Context& context, CommandLine& line) {
  const auto path = path_option(line);
  if (!path) {
    return std::unexpected(path.error());
  }
  const auto format = parse_signature_format(line.format, line.encoding);
  if (!format) {
    return std::unexpected(format.error());
  }
  line.sign.input = {.source = {.file = line.stdin_mark.empty() ? line.message_file : "-",
                                .hex = line.digest_hex ? line.digest_hex : line.message_hex},
                     .is_digest = line.digest_hex.has_value(),
                     .hash = message_hash_from_name(line.hash)};
  line.sign.path = *path;
  line.sign.format = *format;
  if (line.timeout_s > 0) {
    line.sign.timeout = from_seconds(line.timeout_s);
  }
  return run_sign(context, line.sign);
}

}  // namespace

void add_request_commands(CLI::App& app, CommandLine& line) {
  CLI::App* keygen = add(app, line, "keygen", "make a key; prints its public key",
                         [&line](const Context& context) {
                           if (line.timeout_s > 0) {
                             line.keygen.timeout = from_seconds(line.timeout_s);
                           }
                           return run_keygen(context, line.keygen);
                         });
  keygen->add_option("--user", line.keygen.user, "user id")->required();
  keygen->add_option("--key", line.keygen.key, "name of the new key")->required();
  keygen->add_option("--scheme", line.keygen.scheme, "ed25519 or ecdsa-secp256k1")->required();
  add_threshold(keygen, line.keygen.threshold);
  keygen
      ->add_option("--participants", line.keygen.participants,
                   "nodes that hold a share (default: all of the cluster)")
      ->delimiter(',');
  keygen->add_option("--timeout", line.timeout_s, "seconds to wait (default 70)")
      ->check(CLI::PositiveNumber);

  CLI::App* sign = add(app, line, "sign", "sign a message; prints the signature",
                       [&line](const Context& context) { return sign_as_told(context, line); });
  sign->add_option("--user", line.sign.user, "user id")->required();
  sign->add_option("--key", line.sign.key, "name of the key")->required();
  auto* file =
      sign->add_option("--message-file", line.message_file, "read the message from a file");
  auto* hex = sign->add_option("--message-hex", line.message_hex, "the message as hex digits");
  auto* digest = sign->add_option("--digest-hex", line.digest_hex,
                                  "ECDSA: the 32-byte digest itself as hex digits");
  auto* standard_input =
      sign->add_option("MESSAGE", line.stdin_mark, "-: read it from standard input")
          ->check(CLI::IsMember({"-"}));
  file->excludes(hex)->excludes(standard_input)->excludes(digest);
  hex->excludes(standard_input)->excludes(digest);
  digest->excludes(standard_input);
  sign->add_option("--hash", line.hash, "ECDSA: hash the message: sha256, keccak256 or sha256d")
      ->check(CLI::IsMember({"sha256", "keccak256", "sha256d"}))
      ->excludes(digest);
  sign->add_option("--path", line.path, "ECDSA: sign for the key derived along it (m/44/60/0/0/5)");
  sign->add_option("--out", line.sign.out_file, "write the signature to a file");
  sign->add_option("--format", line.format,
                   "hex (default) or base64: the whole signature as text; raw (r and s), der, rsv "
                   "(with the recovery id): bytes")
      ->check(CLI::IsMember({"hex", "raw", "base64", "der", "rsv"}));
  sign->add_option("--encoding", line.encoding, "how --format is written: hex, base64 or binary")
      ->check(CLI::IsMember({"hex", "base64", "binary"}));
  sign->add_option("--timeout", line.timeout_s, "seconds to wait (default 20)")
      ->check(CLI::PositiveNumber);
}

void add_presign_command(CLI::App& app, CommandLine& line) {
  CLI::App* presign =
      add(app, line, "presign", "make presignatures of an ECDSA key, so that signing is faster",
          [&line](const Context& context) {
            if (line.timeout_s > 0) {
              line.presign.timeout = from_seconds(line.timeout_s);
            }
            catch_interrupt();
            return run_presign(context, line.presign);
          });
  presign->add_option("--user", line.presign.user, "user id")->required();
  presign->add_option("--key", line.presign.key, "name of the key")->required();
  presign->add_option("--count", line.presign.count, "how many, over all nodes")
      ->required()
      ->check(CLI::Range(1U, 1000000U));
  presign->add_option("--timeout", line.timeout_s, "seconds to wait for a portion (default 70)")
      ->check(CLI::PositiveNumber);
}

void add_bench_commands(CLI::App& app, CommandLine& line) {
  CLI::App* bench = app.add_subcommand("bench", "measure the cluster through this node");
  bench->fallthrough();
  bench->require_subcommand(1);
  const auto common = [&line, bench](const char* name, const char* help, BenchKind kind) {
    CLI::App* command = add(*bench, line, name, help, [&line, kind](const Context& context) {
      catch_interrupt();
      return run_bench(context, kind, line.bench_scheme, line.bench);
    });
    command->add_option("--scheme", line.bench_scheme, "of the keys (default ed25519)");
    add_threshold(command, line.bench.threshold);
    command->add_flag("--latencies", line.bench.latencies,
                      "with --json: how often each latency came, so that runs can be pooled");
    return command;
  };
  const auto load = [&line](CLI::App* command) {
    command->add_option("--concurrency", line.bench.concurrency, "requests in flight (default 1)")
        ->check(CLI::Range(1U, 1000U));  // a node accepts 1024 calls on one control connection
    auto* duration =
        command->add_option("--duration", line.bench.duration_s, "seconds to go on (default 10)");
    auto* count = command->add_option("--count", line.bench.count, "requests to make");
    duration->check(CLI::PositiveNumber)->excludes(count);
  };
  CLI::App* sign =
      common("sign", "sign random messages; every signature is verified", BenchKind::kSign);
  load(sign);
  sign->add_option("--users", line.bench.users, "users that take turns (default 1)")
      ->check(CLI::Range(1U, 100000U));
  sign->add_flag("--presigned", line.bench.presigned,
                 "ECDSA: with presignatures made beforehand (--count, default 2000)");
  CLI::App* keygen = common("keygen", "make keys, each for a new user", BenchKind::kKeygen);
  load(keygen);
  CLI::App* first =
      common("first-signature", "evict a user, then time its next signature, one after another",
             BenchKind::kFirstSignature);
  first->add_option("--count", line.bench.count, "signatures (default 50)");
  first
      ->add_option("--evict-socket", line.bench.evict_sockets,
                   "control sockets of all nodes to evict at (default: --socket only)")
      ->delimiter(',');
}

}  // namespace cosigner::ctl
