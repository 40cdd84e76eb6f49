#pragma once
// What is kept of each peer's rounds before the start (or the other hellos) that they belong to has
// come, over all sessions and presigning runs: bounded, so that a peer cannot fill this worker's
// memory with messages that nothing has asked for.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace cosigner::worker {

class EarlyBytes {
 public:
  /// An honest peer is at most one round ahead: one message of 6,544 bytes (ECDSA, round 1) for
  /// each of 256 sessions is 1.6 MiB.
  static constexpr std::size_t kMaxOfPeer = 2U << 20;
  /// The only round that can come before the receiver's own first message.
  static constexpr std::uint8_t kRound = 1;

  /// A kept message's part of the bound, given back when it goes.
  class Held {
   public:
    Held(EarlyBytes& owner, std::string node, std::size_t size)
        : owner_(&owner), node_(std::move(node)), size_(size) {}
    Held(Held&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          node_(std::move(other.node_)),
          size_(other.size_) {}
    Held& operator=(Held&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(node_, other.node_);
      std::swap(size_, other.size_);
      return *this;
    }
    ~Held() {
      if (owner_ != nullptr) {
        owner_->release(node_, size_);
      }
    }

   private:
    EarlyBytes* owner_;
    std::string node_;
    std::size_t size_;
  };

  /// None if that peer has as much as it may.
  [[nodiscard]] std::optional<Held> hold(const std::string& node, std::size_t size) {
    std::size_t& held = held_[node];
    if (size > kMaxOfPeer - held) {
      return std::nullopt;
    }
    held += size;
    return Held(*this, node, size);
  }
  [[nodiscard]] std::size_t of(const std::string& node) const {
    const auto found = held_.find(node);
    return found == held_.end() ? 0 : found->second;
  }

 private:
  void release(const std::string& node, std::size_t size) { held_.at(node) -= size; }

  std::map<std::string, std::size_t> held_;
};

}  // namespace cosigner::worker
