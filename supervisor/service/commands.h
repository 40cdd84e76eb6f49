#pragma once
// What operators may ask over the control socket. Arguments and bodies are msgpack maps.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/map_reader.h"
#include "supervisor/control/command_arguments.h"
#include "supervisor/control/control_server.h"
#include "supervisor/control/peer_rights.h"
#include "supervisor/registry/types.h"
#include "supervisor/service/clock.h"
#include "supervisor/service/per_second.h"

namespace cosigner::supervisor {

class Node;

class Commands {
 public:
  explicit Commands(Node& node);
  ~Commands() { *alive_ = false; }
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  void handle(std::shared_ptr<ControlRequest> request);
  /// The groups of [control] have changed, perhaps.
  void look_groups_up();
  /// Anybody with rights of some kind.
  [[nodiscard]] bool welcomes(const ControlPeer& peer) const {
    return rights_.of(peer) != Rights::kNone;
  }
  /// The user's process is gone (or stays, with the reason): answers `evict` and `restart`.
  void evicted(const std::string& user, std::optional<Error> error);

 private:
  using Request = std::shared_ptr<ControlRequest>;
  struct Command;
  template <auto read, auto run>
  static void call(Commands& self, const Request& request, ipc::MapReader& arguments);
  static const std::map<std::string, Command, std::less<>>& table();

  // commands.cc
  void evict(const Request& request, const std::string& user);
  void restart(const Request& request, const std::string& user);
  void quarantine(const Request& request, const std::string& user);
  void clear(const Request& request, const std::string& user);
  void drain(const Request& request);
  void log_level(const Request& request, const std::string& level);
  void reload(const Request& request);
  void events(const Request& request, bool follow);
  void submit(const Request& request, ByteView envelope);
  // pair_commands.cc
  void bans(const Request& request, const std::string& user);
  void unban(const Request& request, const PairArguments& pair);
  void renew(const Request& request, const PairArguments& pair);
  void order_renewal(const Request& request, const PairArguments& wanted, bool lifts_ban);
  // verify_command.cc
  void owners(const Request& request);
  void verify(const Request& request, const KeyArguments& wanted);
  // views.cc
  void status(const Request& request);
  void metrics(const Request& request);
  void self_check(const Request& request);
  void cluster(const Request& request);
  void peers(const Request& request);
  void version(const Request& request);
  void users(const Request& request);
  void user(const Request& request, const std::string& name);
  void keys(const Request& request, const std::string& name);
  [[nodiscard]] ByteVector pack_peers() const;

  /// A call that waits for the end of a user's process.
  struct Waiting {
    Request request;
    std::int64_t patience_until = 0;  ///< evict: asked again until then, for acknowledgements of a
                                      ///< session that has just ended may still be under way
  };
  void ask_again();

  /// Those that get no line of their own are counted in the next.
  void log_refusal(const ControlPeer& peer, const std::string& command);

  Node& node_;
  PeerRights rights_;
  PerSecondOfEach refusals_audited_;
  PerSecond refusals_logged_;
  std::uint64_t refusals_unlogged_ = 0;
  std::multimap<std::string, Waiting> waiting_;
  LoopTimer ask_timer_;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  ///< work of libuv's pool may end later
};

}  // namespace cosigner::supervisor
