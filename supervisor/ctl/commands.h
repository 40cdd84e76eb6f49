#pragma once
// What each command of cosignerctl does, apart from the parsing of its arguments. A command writes
// its result to `out`; its failure is returned and printed by whoever called it.

#include <atomic>
#include <iosfwd>
#include <string>
#include <vector>

#include "crypto/bip32/derivation.h"
#include "supervisor/ctl/bench.h"
#include "supervisor/ctl/message_hash.h"
#include "supervisor/ctl/signature_format.h"

namespace cosigner::ctl {

/// What all commands share.
struct Context {
  std::string socket;
  std::string initiator_file;
  bool json = false;
  std::ostream& out;
  const std::atomic<bool>& interrupted;  ///< by SIGINT, for a command that looks
};

struct KeygenArguments {
  std::string user;
  std::string key;
  std::string scheme;
  std::uint16_t threshold = 0;
  std::vector<std::string> participants;  ///< empty: all nodes of the cluster
  std::chrono::milliseconds timeout{70'000};
};
struct SignArguments {
  std::string user;
  std::string key;
  SignInput input;
  std::optional<bip32::Path> path;  ///< ECDSA: of the child key that signs
  std::string out_file;             ///< empty: standard output
  SignatureFormat format;
  std::chrono::milliseconds timeout{20'000};
};
struct PresignArguments {
  std::string user;
  std::string key;
  std::uint32_t count = 0;
  std::chrono::milliseconds timeout{70'000};
};
/// This node's OT state of one key with one peer.
struct PairArguments {
  std::string user;
  std::string key;
  std::string peer;
  std::string reason;
  std::chrono::milliseconds timeout{10'000};  ///< to wait for both nodes; the order stays
};
enum class BenchKind : std::uint8_t { kSign, kKeygen, kFirstSignature };

Outcome<void> run_status(const Context& context);
Outcome<void> run_users(const Context& context);
struct TopArguments {
  double interval_s = 2;
  std::uint64_t count = 0;  ///< snapshots; 0: until interrupted
  std::string sort = "processor";
};
/// A view that is drawn again and again; plain snapshots where the output is no terminal.
Outcome<void> run_top(const Context& context, const TopArguments& arguments);
Outcome<void> run_user(const Context& context, const std::string& user);
/// With a path: the ECDSA keys derived along it as well.
Outcome<void> run_keys(const Context& context, const std::string& user,
                       const std::optional<bip32::Path>& path);
/// Prometheus text; with --json {"text": …}.
Outcome<void> run_metrics(const Context& context);
Outcome<void> run_peers(const Context& context);
/// A command whose only argument is a user, or none ("evict", "restart", "quarantine", "clear",
/// "drain").
Outcome<void> run_order(const Context& context, std::string_view command, const std::string& user);
/// Pairs with a ban, a strike or an order to renew; of all users if `user` is empty.
Outcome<void> run_bans(const Context& context, const std::string& user);
/// Opens and checks the stored keys of a user (of all if `user` is empty), or one of them. Fails
/// with kRefused when one is not as it must be, after the verdicts are printed.
Outcome<void> run_verify(const Context& context, const std::string& user, const std::string& key);
/// "unban" or "renew": records the order, then waits for the renewal.
Outcome<void> run_renewal(const Context& context, std::string_view command,
                          const PairArguments& pair);
/// The node reads its configuration again: what it applied, and what waits for a restart.
Outcome<void> run_reload(const Context& context);
Outcome<void> run_log_level(const Context& context, const std::string& level);
/// Prints events as they come, one JSON object a line, until interrupted.
Outcome<void> run_events(const Context& context, bool follow);
Outcome<void> run_keygen(const Context& context, const KeygenArguments& arguments);
Outcome<void> run_sign(const Context& context, const SignArguments& arguments);
/// Asks for them in portions, so that it can say how far it is.
Outcome<void> run_presign(const Context& context, const PresignArguments& arguments);
Outcome<void> run_config_check(const Context& context, const std::string& file);
/// Of this program, and of the node if one answers.
Outcome<void> run_version(const Context& context);
/// Fails with kRefused when some requests failed, after the report is printed.
Outcome<void> run_bench(const Context& context, BenchKind kind, const std::string& scheme,
                        BenchOptions options);

}  // namespace cosigner::ctl
