#pragma once
// Hellos of sessions whose request has not come yet. A hello alone starts nothing: it waits here
// for a few seconds, within bounds for each peer, so that no peer crowds out another.

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "worker/session/counters.h"
#include "worker/session/hello.h"

namespace cosigner::worker {

class EarlyHellos {
 public:
  static constexpr std::int64_t kKeepUs = 10'000'000;
  static constexpr std::size_t kMaxPerPeer = 256;
  static constexpr std::size_t kMaxBytesPerPeer = 1U << 20;

  struct Entry {
    SessionId session;
    SignedHello hello;
    Hello decoded;
    std::int64_t until_us = 0;
  };

  void keep(std::int64_t now_us, std::string_view from, SignedHello hello, Hello decoded,
            Counters& counters) {
    Shelf& shelf = shelves_.try_emplace(std::string(from)).first->second;
    const SessionId session = decoded.session;
    shelf.bytes += size_of(hello);
    shelf.entries.push_back(Entry{session, std::move(hello), std::move(decoded), now_us + kKeepUs});
    while (shelf.entries.size() > kMaxPerPeer || shelf.bytes > kMaxBytesPerPeer ||
           (!shelf.entries.empty() && shelf.entries.front().until_us <= now_us)) {
      shelf.bytes -= size_of(shelf.entries.front().hello);
      shelf.entries.pop_front();
      ++counters.hellos_dropped;
    }
  }

  /// Removes and returns what waited for a session, oldest first.
  std::vector<std::pair<std::string, Entry>> take(const SessionId& session) {
    std::vector<std::pair<std::string, Entry>> found;
    for (auto& [node, shelf] : shelves_) {
      for (auto entry = shelf.entries.begin(); entry != shelf.entries.end();) {
        if (entry->session == session) {
          shelf.bytes -= size_of(entry->hello);
          found.emplace_back(node, std::move(*entry));
          entry = shelf.entries.erase(entry);
        } else {
          ++entry;
        }
      }
    }
    return found;
  }

 private:
  struct Shelf {
    std::deque<Entry> entries;
    std::size_t bytes = 0;
  };
  static std::size_t size_of(const SignedHello& hello) {
    return hello.certificate.size() + hello.body.size() + sizeof(SignedHello);
  }
  std::map<std::string, Shelf, std::less<>> shelves_;
};

}  // namespace cosigner::worker
