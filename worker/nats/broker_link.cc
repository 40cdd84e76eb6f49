#include "worker/nats/broker_link.h"

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace cosigner::worker {
namespace {

using std::chrono::milliseconds;

struct FreeOptions {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};

// One delivery thread for all subscriptions; nats.c starts three threads of its own besides.
void open_library() {
  static const bool opened = [] {
    nats_Open(-1);
    nats_SetMessageDeliveryPoolSize(1);
    return true;
  }();
  static_cast<void>(opened);
}

std::string status_text(natsStatus status, const char* detail) {
  std::string text = natsStatus_GetText(status);
  if (detail != nullptr && *detail != '\0') {
    text += ": ";
    text += detail;
  }
  return text;
}
std::string last_error(natsStatus status) {
  return status_text(status, nats_GetLastError(nullptr));
}

}  // namespace

// What nats.c's callbacks get as their closure. It must outlive the last of them: each connection
// ends with one closed callback, each subscription with one completion.
struct BrokerLink::State {
  LinkCallbacks callbacks;
  Ed25519SecretKey key;
  std::string jwt;
  natsConnection* connection = nullptr;
  std::vector<natsSubscription*> subscriptions;

  std::mutex mutex;
  std::condition_variable ended;
  int outstanding = 0;
  bool closing = false;  // by us: a closed callback is no loss then

  void begin() {
    const std::lock_guard lock(mutex);
    ++outstanding;
  }
  void end() {
    const std::lock_guard lock(mutex);
    --outstanding;
    ended.notify_all();
  }

  static void on_message(natsConnection* /*connection*/, natsSubscription* /*subscription*/,
                         natsMsg* message, void* closure) {
    if (message == nullptr) {
      return;
    }
    BrokerMessage out;
    out.subject = natsMsg_GetSubject(message);
    if (const char* reply = natsMsg_GetReply(message)) {
      out.reply = reply;
    }
    const auto* data = reinterpret_cast<const std::uint8_t*>(natsMsg_GetData(message));
    const int size = natsMsg_GetDataLength(message);
    if (size > 0) {
      out.payload.assign(data, data + size);
    }
    out.no_responders = natsMsg_IsNoResponders(message);
    natsMsg_Destroy(message);
    static_cast<State*>(closure)->callbacks.on_message(std::move(out));
  }
  static void on_complete(void* closure) { static_cast<State*>(closure)->end(); }
  static void on_closed(natsConnection* connection, void* closure) {
    auto* state = static_cast<State*>(closure);
    const char* text = nullptr;
    const natsStatus status = natsConnection_GetLastError(connection, &text);
    bool lost = false;
    {
      const std::lock_guard lock(state->mutex);
      lost = !state->closing;
    }
    if (lost) {
      state->callbacks.on_lost(status == NATS_OK ? "the broker closed the connection"
                                                 : status_text(status, text));
    }
    state->end();
  }
  static void on_error(natsConnection* /*connection*/, natsSubscription* /*subscription*/,
                       natsStatus status, void* closure) {
    auto* state = static_cast<State*>(closure);
    BrokerProblemKind kind = BrokerProblemKind::kConnectFailed;
    if (status == NATS_NOT_PERMITTED) {
      kind = BrokerProblemKind::kNotPermitted;
    } else if (status == NATS_SLOW_CONSUMER) {
      kind = BrokerProblemKind::kSlowConsumer;
    }
    state->callbacks.on_problem({kind, 1, last_error(status)});
  }
  static natsStatus give_jwt(char** jwt, char** /*error*/, void* closure) {
    *jwt = ::strdup(static_cast<State*>(closure)->jwt.c_str());
    return *jwt != nullptr ? NATS_OK : NATS_NO_MEMORY;
  }
  static natsStatus sign_nonce(char** /*error*/, unsigned char** signature, int* size,
                               const char* nonce, void* closure) {
    const Ed25519Signature signed_nonce =
        ed25519_sign(static_cast<State*>(closure)->key, as_bytes(nonce));
    *signature = static_cast<unsigned char*>(std::malloc(Ed25519Signature::kSize));
    if (*signature == nullptr) {
      return NATS_NO_MEMORY;
    }
    std::memcpy(*signature, signed_nonce.data.data(), Ed25519Signature::kSize);
    *size = static_cast<int>(Ed25519Signature::kSize);
    return NATS_OK;
  }
};

BrokerLink::BrokerLink(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::expected<std::unique_ptr<BrokerLink>, std::string> BrokerLink::open(
    const LinkOptions& options, const ipc::BrokerAccess& access, const Ed25519SecretKey& key,
    LinkCallbacks callbacks, const std::function<bool()>& give_up) {
  open_library();
  auto state = std::make_unique<State>();
  state->callbacks = std::move(callbacks);
  state->key = key.duplicate();
  state->jwt = access.jwt;
  std::unique_ptr<BrokerLink> link(new BrokerLink(std::move(state)));
  if (auto connected = link->connect(options, access); !connected) {
    return std::unexpected(std::move(connected.error()));
  }
  if (auto subscribed = link->subscribe(options, give_up); !subscribed) {
    return std::unexpected(std::move(subscribed.error()));
  }
  return link;
}

std::expected<void, std::string> BrokerLink::connect(const LinkOptions& options,
                                                     const ipc::BrokerAccess& access) {
  State* state = state_.get();
  natsOptions* made = nullptr;
  natsStatus status = natsOptions_Create(&made);
  const std::unique_ptr<natsOptions, FreeOptions> nats(made);
  const auto set = [&status](natsStatus next) {
    if (status == NATS_OK) {
      status = next;
    }
  };
  set(natsOptions_SetURL(made, access.url.c_str()));
  set(natsOptions_SetName(made, options.name.c_str()));
  set(natsOptions_SetSendAsap(made, true));  // otherwise a flusher thread sleeps 1 ms first
  set(natsOptions_SetWriteDeadline(made, options.write_deadline.count()));
  set(natsOptions_SetTimeout(made, options.connect_timeout.count()));
  set(natsOptions_SetAllowReconnect(made, false));
  set(natsOptions_SetReconnectBufSize(made, 0));
  set(natsOptions_SetPingInterval(made, options.ping_interval.count()));
  set(natsOptions_SetMaxPingsOut(made, 2));
  set(natsOptions_UseGlobalMessageDelivery(made, true));
  set(natsOptions_SetIgnoreDiscoveredServers(made, true));
  // Each connection has one buffer of this size each way; larger messages bypass it.
  set(natsOptions_SetIOBufSize(made, 16 << 10));
  set(natsOptions_SetClosedCB(made, State::on_closed, state));
  set(natsOptions_SetErrorHandler(made, State::on_error, state));
  if (!access.jwt.empty()) {
    set(natsOptions_SetUserCredentialsCallbacks(made, State::give_jwt, state, State::sign_nonce,
                                                state));
  }
  if (status != NATS_OK) {
    return std::unexpected(last_error(status));
  }
  state->begin();  // for on_closed
  status = natsConnection_Connect(&state->connection, made);
  if (status != NATS_OK) {
    state->end();  // nats.c calls nothing for a connection that never stood
    return std::unexpected(last_error(status));
  }
  return {};
}

std::expected<void, std::string> BrokerLink::subscribe(const LinkOptions& options,
                                                       const std::function<bool()>& give_up) {
  State* state = state_.get();
  for (const std::string& subject : options.subjects) {
    natsSubscription* subscription = nullptr;
    natsStatus status = natsConnection_Subscribe(&subscription, state->connection, subject.c_str(),
                                                 State::on_message, state);
    if (status != NATS_OK) {
      return std::unexpected(last_error(status));
    }
    state->subscriptions.push_back(subscription);
    state->begin();  // for on_complete
    status = natsSubscription_SetOnCompleteCB(subscription, State::on_complete, state);
    if (status != NATS_OK) {
      state->end();
      return std::unexpected(last_error(status));
    }
  }
  // The server works in order: when the PONG is here, the subscriptions stand or have been refused.
  natsStatus status = NATS_TIMEOUT;
  for (int seconds = 0; seconds < 10 && status == NATS_TIMEOUT && !give_up(); ++seconds) {
    status = natsConnection_FlushTimeout(state->connection, 1000);
  }
  if (status != NATS_OK) {
    return std::unexpected("subscribing: " + last_error(status));
  }
  const char* text = nullptr;
  if (natsConnection_GetLastError(state->connection, &text) == NATS_NOT_PERMITTED) {
    return std::unexpected(status_text(NATS_NOT_PERMITTED, text));
  }
  return {};
}

BrokerLink::PublishStatus BrokerLink::publish(const Outgoing& message) {
  const int size = static_cast<int>(message.payload.size());
  const natsStatus status =
      message.reply.empty()
          ? natsConnection_Publish(state_->connection, message.subject.c_str(),
                                   message.payload.data(), size)
          : natsConnection_PublishRequest(state_->connection, message.subject.c_str(),
                                          message.reply.c_str(), message.payload.data(), size);
  switch (status) {
    case NATS_OK:
      return PublishStatus::kSent;
    case NATS_MAX_PAYLOAD:
    case NATS_INVALID_SUBJECT:
    case NATS_INVALID_ARG:
      return PublishStatus::kRefused;
    default:
      return PublishStatus::kBroken;
  }
}

void BrokerLink::flush(milliseconds timeout) {
  natsConnection_FlushTimeout(state_->connection, timeout.count());
}

void BrokerLink::drain(milliseconds timeout) {
  for (natsSubscription* subscription : state_->subscriptions) {
    natsSubscription_Drain(subscription);
  }
  flush(timeout);
  for (natsSubscription* subscription : state_->subscriptions) {
    natsSubscription_WaitForDrainCompletion(subscription, timeout.count());
  }
}

BrokerLink::~BrokerLink() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  for (natsSubscription* subscription : state_->subscriptions) {
    natsSubscription_Destroy(subscription);
  }
  natsConnection_Destroy(state_->connection);
  std::unique_lock lock(state_->mutex);
  const bool done = state_->ended.wait_for(lock, std::chrono::seconds(5),
                                           [this] { return state_->outstanding == 0; });
  lock.unlock();
  if (!done) {
    // Never seen; if it happens, a few hundred bytes are a better price than a callback into freed
    // memory.
    static_cast<void>(state_.release());
  }
}

}  // namespace cosigner::worker
