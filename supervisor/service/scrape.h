#pragma once
// A node's metrics at one moment, as text: what is counted as it happens, and what is looked up
// now. Looking up leaves the loop: the store's thread counts bans, libuv's pool reads /proc, about
// 10 µs for each process.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/metrics/node_metrics.h"

namespace cosigner::supervisor {

class Node;

class Scrape {
 public:
  using Done = std::function<void(const std::string& text)>;

  explicit Scrape(Node& node) : node_(node), alive_(std::make_shared<bool>(true)) {}
  ~Scrape() { *alive_ = false; }
  Scrape(const Scrape&) = delete;
  Scrape& operator=(const Scrape&) = delete;

  /// `done` comes later. Whoever asks while an answer is being made waits for the next, which
  /// begins after his question; so any number of askers costs two at a time.
  void take(Done done);

 private:
  void begin();
  void look_up(std::uint64_t bans);
  void finish(NodeMetrics::Sample sample);

  Node& node_;
  std::shared_ptr<bool> alive_;  ///< work of libuv's pool may end after this object
  std::vector<Done> asking_;     ///< of the answer being made
  std::vector<Done> next_;
  std::uint64_t last_bans_ = 0;
};

}  // namespace cosigner::supervisor
