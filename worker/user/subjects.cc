#include "worker/user/subjects.h"

#include <charconv>

#include "ipc/names.h"

namespace cosigner::worker {

UserSubjects::UserSubjects(std::string_view cluster, std::string_view user, std::string_view self)
    : prefix_("cosigner." + std::string(cluster) + ".user." + user_subject_token(cluster, user) +
              "."),
      self_(self),
      own_(prefix_ + self_ + ".") {}

std::string UserSubjects::packet_to(std::string_view node) const {
  return prefix_ + std::string(node) + "." + self_;
}

std::string UserSubjects::no_responders(std::string_view node, std::uint64_t packet) const {
  return own_ + "none." + std::string(node) + "." + std::to_string(packet);
}

std::optional<UserSubjects::Incoming> UserSubjects::parse(std::string_view subject) const {
  if (!subject.starts_with(own_)) {
    return std::nullopt;
  }
  subject.remove_prefix(own_.size());
  constexpr std::string_view kNone = "none.";
  if (!subject.starts_with(kNone)) {
    if (!valid_node_name(subject)) {
      return std::nullopt;
    }
    return Incoming{subject, std::nullopt};
  }
  subject.remove_prefix(kNone.size());
  const std::size_t dot = subject.find('.');
  if (dot == std::string_view::npos || !valid_node_name(subject.substr(0, dot))) {
    return std::nullopt;
  }
  const std::string_view number = subject.substr(dot + 1);
  std::uint64_t packet = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), packet);
  if (error != std::errc() || end != number.data() + number.size()) {
    return std::nullopt;
  }
  return Incoming{subject.substr(0, dot), packet};
}

}  // namespace cosigner::worker
