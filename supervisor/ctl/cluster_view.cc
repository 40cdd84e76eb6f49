#include "supervisor/ctl/cluster_view.h"

#include <algorithm>

#include "ipc/map_reader.h"
#include "ipc/pack.h"

namespace cosigner::ctl {
namespace {

std::unexpected<Failure> unreadable(const Error& error) {
  return failed(
      ExitStatus::kRefused, ErrorCode::kInternal,
      "the node's reply cannot be read (" + error.message + "): is it of the same release?");
}

}  // namespace

Outcome<ClusterView> fetch_cluster(ControlClient& node) {
  const auto body = node.call("cluster", no_arguments());
  if (!body) {
    return std::unexpected(body.error());
  }
  const auto tree = ipc::Tree::parse(*body);
  if (!tree) {
    return unreadable(tree.error());
  }
  ipc::MapReader fields(tree->root(), "cluster");
  ClusterView view;
  view.cluster = fields.text("cluster");
  view.node = fields.text("node");
  if (fields.has("default_threshold")) {
    view.default_threshold =
        static_cast<std::uint16_t>(fields.unsigned_integer("default_threshold", 0, 64));
  }
  for (const ipc::Node& entry : fields.array("nodes", 64)) {
    ipc::MapReader peer(entry, "node");
    view.nodes.push_back(
        {.node = peer.text("node"), .identity = peer.fixed<Ed25519PublicKey>("identity")});
    if (const auto ok = peer.finish_lenient(); !ok) {
      return unreadable(ok.error());
    }
  }
  if (const auto ok = fields.finish_lenient(); !ok) {
    return unreadable(ok.error());
  }
  std::ranges::sort(view.nodes, {}, &ipc::Peer::node);
  return view;
}

Outcome<std::set<std::string, std::less<>>> fetch_present(ControlClient& node) {
  const auto body = node.call("peers", no_arguments());
  if (!body) {
    return std::unexpected(body.error());
  }
  const auto tree = ipc::Tree::parse(*body);
  if (!tree) {
    return unreadable(tree.error());
  }
  std::set<std::string, std::less<>> present;
  ipc::MapReader fields(tree->root(), "peers");
  for (const ipc::Node& entry : fields.array("peers", 64)) {
    ipc::MapReader peer(entry, "peer");
    const std::string name = peer.text("node");
    const bool here = peer.boolean("present");
    const bool self = peer.boolean("self");
    if (const auto ok = peer.finish_lenient(); !ok) {
      return unreadable(ok.error());
    }
    if (here || self) {
      present.insert(name);
    }
  }
  return present;
}

Outcome<std::optional<KeyView>> fetch_key(ControlClient& node, const std::string& user,
                                          const std::string& key) {
  const auto body = node.call("keys", ipc::MapPacker().text("user", user).finish());
  if (!body) {
    const ErrorCode code = body.error().error.code;
    if (code == ErrorCode::kUnknownUser || code == ErrorCode::kUnknownKey) {
      return std::nullopt;
    }
    return std::unexpected(body.error());
  }
  const auto tree = ipc::Tree::parse(*body);
  if (!tree) {
    return unreadable(tree.error());
  }
  ipc::MapReader fields(tree->root(), "keys");
  for (const ipc::Node& entry : fields.array("keys", 1U << 14)) {
    ipc::MapReader item(entry, "key");
    if (item.text("key") != key || item.text("state") != "active") {
      continue;
    }
    KeyView view;
    view.scheme = scheme_from_name(item.text("scheme")).value_or(Scheme::kEd25519);
    view.threshold = static_cast<std::uint16_t>(item.unsigned_integer("threshold", 1, 64));
    view.participants = item.texts("participants", 64, 64);
    const auto public_key = from_hex(item.text("public_key"));
    if (item.has("chain_code")) {
      view.chain_code = Digest::from(from_hex(item.text("chain_code")).value_or(ByteVector()));
    }
    if (const auto ok = item.finish_lenient(); !ok) {
      return unreadable(ok.error());
    }
    view.public_key = public_key.value_or(ByteVector());
    return view;
  }
  return std::nullopt;
}

}  // namespace cosigner::ctl
