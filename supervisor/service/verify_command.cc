// The commands behind `cosignerctl verify`: which users have keys here, and what is wrong with the
// stored keys of one of them. The supervisor reads rows and checks their authentication; what needs
// a share is the user's worker's to say (worker/session/key_check.h).

#include <algorithm>
#include <deque>
#include <iterator>

#include "ipc/pack.h"
#include "supervisor/service/commands.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {
namespace {

constexpr std::size_t kOwnersInPart = 500;

struct FaultText {
  std::string_view name;
  std::string_view what;
};

FaultText fault_text(ipc::KeyFault fault) {
  switch (fault) {
    case ipc::KeyFault::kNone:
      return {"", ""};
    case ipc::KeyFault::kRecord:
      return {"record", "its record cannot be read, or is another key's"};
    case ipc::KeyFault::kPeers:
      return {"peers",
              "a participant is no peer of this node any more, so its acknowledgement cannot be "
              "checked: put that node back into peers.toml"};
    case ipc::KeyFault::kCertificate:
      return {"certificate", "the acknowledgements of its participants do not verify"};
    case ipc::KeyFault::kSeal:
      return {"seal",
              "the share does not open: it was sealed for another record, or under another "
              "key-encryption key"};
    case ipc::KeyFault::kShare:
      return {"share", "what opens is not the secret of this node's certified public share"};
    case ipc::KeyFault::kOtState:
      return {"ot-state", "the pairwise OT state beside the share cannot be read"};
  }
  return {"unknown", "the user's process names a fault that this release does not know"};
}

constexpr FaultText kAlteredRow{"row", "its row in the store was altered outside of cosignerd"};

ByteVector pack_verdict(const std::string& key, std::uint64_t epoch, std::string_view state,
                        FaultText fault) {
  return ipc::MapPacker()
      .text("key", ipc::make_loggable(key))
      .unsigned_integer("epoch", epoch)
      .text("state", state)
      .boolean("ok", fault.name.empty())
      .text("fault", fault.name)
      .text("what", fault.what)
      .finish();
}

std::string_view state_of(const ipc::StoredKey& key) {
  return key.state == ipc::KeyState::kActive ? "active" : "pending";
}

}  // namespace

/// {} → parts {users: […]}: whoever has a key in the store.
void Commands::owners(const Request& request) {
  node_.store().submit(
      StoreThread::Urgency::kNow, [](Store& store) { return store.key_owners(); },
      [request](const Expected<std::vector<std::string>>& users) {
        if (!users) {
          request->fail(users.error());
          return;
        }
        for (std::size_t begin = 0; begin < users->size(); begin += kOwnersInPart) {
          ipc::ArrayPacker part;
          for (std::size_t i = begin; i < std::min(begin + kOwnersInPart, users->size()); ++i) {
            part.next().text(ipc::make_loggable((*users)[i]));
          }
          if (!request->part(ipc::MapPacker().raw("users", part.finish()).finish())) {
            return;
          }
        }
        request->succeed(ipc::MapPacker().finish());
      });
}

/// {user, key?} → parts {key, epoch, state, ok, fault, what}, one for each stored epoch.
void Commands::verify(const Request& request, const KeyArguments& wanted) {
  node_.store().submit(
      StoreThread::Urgency::kNow,
      [user = wanted.user](Store& store) { return store.intact_keys_of(user); },
      [this, request, wanted](Expected<Store::IntactKeys> rows) {
        if (!rows) {
          request->fail(rows.error());
          return;
        }
        const auto other = [&](const std::string& key) {
          return !wanted.key.empty() && key != wanted.key;
        };
        std::erase_if(rows->altered, other);
        std::erase_if(rows->keys, [&](const ipc::StoredKey& key) { return other(key.key); });
        if (rows->keys.empty() && rows->altered.empty()) {
          request->fail({.code = ErrorCode::kUnknownKey,
                         .message = "This node has no such key: keys says which there are."});
          return;
        }
        for (const std::string& key : rows->altered) {
          if (!request->part(pack_verdict(key, 0, "", kAlteredRow))) {
            return;
          }
        }
        if (rows->keys.empty()) {
          request->succeed(ipc::MapPacker().finish());
          return;
        }
        Verification order{
            .keys = std::deque<ipc::StoredKey>(std::make_move_iterator(rows->keys.begin()),
                                               std::make_move_iterator(rows->keys.end())),
            .on_key =
                [request](const ipc::StoredKey& key, ipc::KeyFault fault) {
                  return request->part(
                      pack_verdict(key.key, key.epoch, state_of(key), fault_text(fault)));
                },
            .on_end =
                [request](const std::optional<Error>& error) {
                  if (error) {
                    request->fail(*error);
                  } else {
                    request->succeed(ipc::MapPacker().finish());
                  }
                }};
        if (const auto begun = node_.pool().verify(wanted.user, std::move(order)); !begun) {
          request->fail(begun.error());
        }
      });
}

}  // namespace cosigner::supervisor
