#pragma once
// What `cosignerctl doctor` cannot see from outside: this process's limits, the store's structure,
// the walls around the gateway. Looked at off the loop.

#include <functional>
#include <memory>
#include <vector>

#include "crypto/base/bytes.h"

namespace cosigner::supervisor {

class Node;

class SelfCheck {
 public:
  /// The reply of the control command, see self_check.cc.
  using Done = std::function<void(const ByteVector& body)>;

  explicit SelfCheck(Node& node) : node_(node) {}
  ~SelfCheck() { *alive_ = false; }
  SelfCheck(const SelfCheck&) = delete;
  SelfCheck& operator=(const SelfCheck&) = delete;

  /// Whoever asks while a check runs hears its outcome: reading the whole store has a price, and
  /// those who may only look may ask.
  void run(Done done);

 private:
  Node& node_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<Done> asking_;
};

}  // namespace cosigner::supervisor
