// cosignerctl: the operator's and the demonstrator's hand on a node. This file parses; commands.h
// does.

#include <signal.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>

#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/doctor.h"
#include "supervisor/ctl/key_points.h"
#include "supervisor/ctl/setup/commands.h"

namespace cosigner::ctl {
namespace {

std::atomic<bool> g_interrupted{false};

void on_interrupt(int) {
  g_interrupted = true;
}

/// For the commands that look at Context::interrupted, to end with a report of what was done. Every
/// other one ends at the first Ctrl-C the usual way, whatever it waits for.
void catch_interrupt() {
  struct sigaction interrupt{};
  interrupt.sa_handler = on_interrupt;
  interrupt.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends it the usual way
  ::sigaction(SIGINT, &interrupt, nullptr);
}

void print_failure(const Failure& failure, bool json) {
  if (!json) {
    std::cerr << "cosignerctl: " << error_text(failure.error) << "\n";
  } else if (!failure.reported) {
    std::cout << error_json(failure.error).dump() << "\n";
  }
}

std::chrono::milliseconds from_seconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

/// Everything the command line can say.
struct CommandLine {
  std::string socket = "/run/cosigner/control.sock";
  std::string initiator;
  bool json = false;
  std::string user;
  std::string file = "/etc/cosigner/cosigner.toml";
  std::string level;
  bool follow = false;
  TopArguments top;
  double timeout_s = 0;
  std::string stdin_mark;
  std::string format;
  std::string message_file;
  std::optional<std::string> message_hex;
  std::optional<std::string> digest_hex;
  std::string hash;
  std::string encoding;
  std::string path;
  KeygenArguments keygen;
  PairArguments pair;
  SignArguments sign;
  PresignArguments presign;
  InitArguments init;
  std::vector<std::string> files;
  std::string file_out;
  bool bundle = false;
  ClientArguments client;
  bool confirmed = false;
  BenchOptions bench;
  std::string bench_scheme = "ed25519";

  std::function<Outcome<void>(const Context&)> action;
};

using Action = std::function<Outcome<void>(const Context&)>;

/// A subcommand that accepts the global options after its name as well.
CLI::App* add(CLI::App& app, CommandLine& line, const char* name, const char* help, Action action) {
  CLI::App* command = app.add_subcommand(name, help);
  command->fallthrough();
  command->callback([&line, action = std::move(action)] { line.action = action; });
  return command;
}

Outcome<std::optional<bip32::Path>> path_option(const CommandLine& line) {
  if (line.path.empty()) {
    return std::nullopt;
  }
  auto path = parse_path_option(line.path);
  if (!path) {
    return std::unexpected(path.error());
  }
  return *std::move(path);
}

void add_node_commands(CLI::App& app, CommandLine& line) {
  add(app, line, "status", "the node: processes, broker, peers", run_status);
  add(app, line, "users", "the users with a process or a past", run_users);
  CLI::App* top = add(app, line, "top", "the node and its busiest users, drawn again and again",
                      [&line](const Context& context) {
                        catch_interrupt();
                        return run_top(context, line.top);
                      });
  top->add_option("--interval", line.top.interval_s, "seconds between two looks (default 2)")
      ->check(CLI::Range(0.1, 3600.0));
  top->add_option("--count", line.top.count, "looks to take (default: until interrupted)");
  top->add_option("--sort", line.top.sort, "processor (default), memory, requests, active or user")
      ->check(CLI::IsMember({"processor", "memory", "requests", "active", "user"}));
  add(app, line, "user", "one user in detail",
      [&line](const Context& context) { return run_user(context, line.user); })
      ->add_option("ID", line.user, "user id")
      ->required();
  CLI::App* keys = add(
      app, line, "keys", "the keys of a user", [&line](const Context& context) -> Outcome<void> {
        const auto path = path_option(line);
        return path ? run_keys(context, line.user, *path) : std::unexpected(path.error());
      });
  keys->add_option("--user", line.user, "user id")->required();
  keys->add_option("--path", line.path, "ECDSA keys also as derived along it (m/44/60/0/0/5)");
  add(app, line, "metrics", "what the node counts, in Prometheus text format", run_metrics);
  const std::pair<const char*, const char*> orders[] = {
      {"evict", "end a user's idle process (the next request starts another)"},
      {"restart", "replace a user's process"},
      {"quarantine", "serve this user no more until cleared"},
      {"clear", "lift a user's quarantine"}};
  for (const auto& [name, help] : orders) {
    add(app, line, name, help,
        [&line, command = std::string(name)](const Context& context) {
          return run_order(context, command, line.user);
        })
        ->add_option("--user", line.user, "user id")
        ->required();
  }
  add(app, line, "bans", "pairs that may not sign together, strikes, and orders to renew",
      [&line](const Context& context) { return run_bans(context, line.user); })
      ->add_option("--user", line.user, "only this user's");
  const std::pair<const char*, const char*> renewals[] = {
      {"unban", "lift a ban: renew this node's OT state with a peer"},
      {"renew", "renew this node's OT state with a peer that is not banned"}};
  for (const auto& [name, help] : renewals) {
    CLI::App* renewal =
        add(app, line, name, help, [&line, command = std::string(name)](const Context& context) {
          if (line.timeout_s > 0) {
            line.pair.timeout = from_seconds(line.timeout_s);
          }
          catch_interrupt();
          return run_renewal(context, command, line.pair);
        });
    renewal->add_option("--user", line.pair.user, "user id")->required();
    renewal->add_option("--key", line.pair.key, "name of the key")->required();
    renewal->add_option("--peer", line.pair.peer, "the other node")->required();
    auto* reason = renewal->add_option("--reason", line.pair.reason,
                                       "why it is safe now; kept for good with the order");
    if (std::string_view(name) == "unban") {
      reason->required();
    }
    renewal->add_option("--timeout", line.timeout_s, "seconds to wait (default 10)")
        ->check(CLI::PositiveNumber);
  }
  CLI::App* verify =
      add(app, line, "verify", "open stored shares and compare them with their certificates",
          [&line](const Context& context) {
            catch_interrupt();
            return run_verify(context, line.pair.user, line.pair.key);
          });
  auto* owner = verify->add_option("--user", line.pair.user, "only this user's");
  verify->add_option("--key", line.pair.key, "only this key")->needs(owner);
  add(app, line, "drain", "take no new requests, finish the ones in flight",
      [](const Context& context) { return run_order(context, "drain", {}); });
  add(app, line, "log-level", "change the node's log level while it runs",
      [&line](const Context& context) { return run_log_level(context, line.level); })
      ->add_option("LEVEL", line.level, "trace, debug, info, warning or error")
      ->required();
  add(app, line, "reload", "read the node's configuration again; says what needs a restart",
      [](const Context& context) { return run_reload(context); });
  add(app, line, "events", "what happens on the node, one JSON object a line",
      [&line](const Context& context) {
        catch_interrupt();
        return run_events(context, line.follow);
      })
      ->add_flag("--follow", line.follow, "go on until interrupted");
  add(app, line, "version", "version of this program, and of the node if one answers", run_version);
  add(app, line, "doctor", "look for what is not as it should be on this host",
      [&line](const Context& context) { return run_doctor(context, line.file); })
      ->add_option("--config", line.file, "the node's configuration")
      ->capture_default_str();
  CLI::App* config = app.add_subcommand("config", "configuration files");
  config->fallthrough();
  config->require_subcommand(1);
  add(*config, line, "check", "read a node's configuration and report every mistake in it",
      [&line](const Context& context) { return run_config_check(context, line.file); })
      ->add_option("FILE", line.file, "cosigner.toml")
      ->capture_default_str();
}

void add_setup_commands(CLI::App& app, CommandLine& line) {
  CLI::App* init = add(app, line, "init", "set this host up as a node of a cluster",
                       [&line](const Context& context) { return run_init(context, line.init); });
  auto* first = init->add_flag("--first", line.init.first, "begin a cluster with this node");
  init->add_flag("--join", line.init.join, "make a node that joins one")->excludes(first);
  init->add_option("--cluster", line.init.cluster, "name of the cluster")->required();
  init->add_option("--node", line.init.node, "name of this node")->required();
  init->add_option("--hub", line.init.hubs,
                   "HOST[:PORT] where the other nodes reach this one's nats-server (repeatable: "
                   "further hubs; port 7422)")
      ->allow_extra_args(false);
  init->add_option("--threshold", line.init.threshold, "of new keys, unless keygen says otherwise")
      ->capture_default_str();
  init->add_option("--dir", line.init.directory, "where the node's files go")
      ->capture_default_str();
  init->add_option("--credentials", line.init.credentials,
                   "encrypted (systemd-creds), plain (files), or auto: encrypted where it works")
      ->check(CLI::IsMember({"auto", "encrypted", "plain"}))
      ->capture_default_str();
  init->add_option("--recovery-file", line.init.recovery_file,
                   "write a copy of the key-encryption key, to print and lock away");
  init->add_option("--key-encryption-key", line.init.key_encryption_key,
                   "file with the key-encryption key to use instead of a new one");
  init->add_option("--broker-listen", line.init.broker_listen,
                   "this node's nats-server, for the node itself")
      ->capture_default_str();
  init->add_option("--hub-listen", line.init.hub_listen, "the hub's, for clients on its host")
      ->capture_default_str();

  CLI::App* peers =
      app.add_subcommand("peers", "the nodes of the cluster; exchange of their cards");
  peers->fallthrough();
  peers->require_subcommand(0, 1);
  peers->callback([&line, peers] {
    if (peers->get_subcommands().empty()) {
      line.action = run_peers;
    }
  });
  CLI::App* exporting = add(
      *peers, line, "export", "print this node's card, signed", [&line](const Context& context) {
        return run_peers_export(context, line.init.directory, line.bundle, line.file_out);
      });
  exporting->add_flag("--bundle", line.bundle, "the whole cluster's bundle instead");
  exporting->add_option("--out", line.file_out, "write it to a file");
  CLI::App* importing =
      add(*peers, line, "import", "take in other nodes' cards, or the bundle",
          [&line](const Context& context) {
            return run_peers_import(context, line.init.directory, line.files, line.confirmed);
          });
  importing->add_option("FILE", line.files, "cards, or one bundle")->required();
  importing->add_flag("--yes", line.confirmed, "the fingerprints have been compared");
  for (CLI::App* command : {exporting, importing}) {
    command->add_option("--dir", line.init.directory, "where the node's files are")
        ->capture_default_str();
  }
  CLI::App* client =
      add(app, line, "client", "NATS credentials for one more program, where the authority is",
          [&line](const Context& context) { return run_client(context, line.client); });
  client->add_option("--out", line.client.out_file, "where they go")->required();
  client->add_option("--days", line.client.days, "until they expire (0: never)")
      ->check(CLI::Range(0, 36500))
      ->capture_default_str();
  client->add_option("--dir", line.client.directory, "where the node's files are")
      ->capture_default_str();
}

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

int run(int argc, char** argv) {
  CommandLine line;
  CLI::App app("cosignerctl: look at a cosigner node, make keys, sign");
  app.add_option("--socket", line.socket, "the node's control socket")
      ->envname("COSIGNER_SOCKET")
      ->capture_default_str();
  app.add_option("--initiator", line.initiator, "file with the key that signs requests")
      ->envname("COSIGNER_INITIATOR");
  app.add_flag("--json", line.json, "one JSON object on stdout, for errors as well");
  app.require_subcommand(1);
  app.footer(std::string(exit_status_help()) +
             "\nErrors are one sentence and the error's name; the names are a closed set, the same "
             "on the wire.");
  add_node_commands(app, line);
  add_setup_commands(app, line);
  add_request_commands(app, line);
  add_presign_command(app, line);
  add_bench_commands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);  // --help
    }
    const bool json = line.json || std::any_of(argv, argv + argc, [](const char* argument) {
                        return std::string_view(argument) == "--json";
                      });
    print_failure(failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                         std::string(error.what()) + " (see --help)")
                      .error(),
                  json);
    return static_cast<int>(ExitStatus::kUsage);
  }

  const Context context{line.socket, line.initiator, line.json, std::cout, g_interrupted};
  const auto outcome = line.action(context);
  std::cout.flush();
  if (!outcome) {
    print_failure(outcome.error(), line.json);
    return static_cast<int>(outcome.error().status);
  }
  return std::cout ? 0 : static_cast<int>(ExitStatus::kCannotWrite);
}

}  // namespace
}  // namespace cosigner::ctl

int main(int argc, char** argv) {
  return cosigner::ctl::run(argc, argv);
}
