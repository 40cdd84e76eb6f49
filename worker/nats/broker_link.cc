#include "worker/nats/broker_link.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "ipc/unique_fd.h"
#include "worker/nats/link_listeners.h"

namespace cosigner::worker {
namespace {

using std::chrono::milliseconds;

struct FreeOptions {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};

// One thread of nats.c for what comes by callback.
void open_library() {
  static const bool opened = [] {
    nats_Open(-1);
    nats_SetMessageDeliveryPoolSize(1);
    return true;
  }();
  static_cast<void>(opened);
}

// What receive() takes at most before the loop gets its turn: more than an event queue holds.
constexpr std::size_t kMostReceivedBytes = 16U << 20;
// Messages that have been read are destroyed so many, or so many bytes, at a time: nats.c wakes a
// thread for it.
constexpr std::size_t kSpentMessages = 32;
constexpr std::size_t kSpentBytes = 16U << 10;

std::string status_text(natsStatus status, const char* detail) {
  std::string text = natsStatus_GetText(status);
  if (detail != nullptr && *detail != '\0') {
    text += ": ";
    text += detail;
  }
  return text;
}
std::string error_text(natsStatus status) {
  return status_text(status, nats_GetLastError(nullptr));
}

BrokerMessage taken_from(natsMsg* message) {
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
  return out;
}

}  // namespace

struct BrokerLink::State {
  LinkCallbacks callbacks;
  void* listener = nullptr;  // what nats.c's thread for callbacks knows of it
  Ed25519SecretKey key;
  std::string jwt;
  std::size_t buffer_bytes = 0;
  natsConnection* connection = nullptr;
  std::vector<natsSubscription*> subscriptions;
  natsSubscription* no_responders = nullptr;

  ipc::UniqueFd descriptor;
  std::atomic<bool> wants_to_send = false;
  std::atomic<bool> ended = false;
  std::atomic<bool> heard = false;
  std::size_t unwritten_messages = 0;  // the loop's, like these two
  std::vector<natsMsg*> spent;
  std::size_t spent_bytes = 0;

  void destroy_spent() {
    for (natsMsg* message : spent) {
      natsMsg_Destroy(message);
    }
    spent.clear();
    spent_bytes = 0;
  }

  // ---- the event loop, as nats.c sees it; the first is called while connecting, the second and
  // third with the connection's lock held

  static natsStatus attach(void** user, void* closure, natsConnection* /*connection*/,
                           natsSock socket) {
    auto* state = static_cast<State*>(closure);
    *user = state;
    state->descriptor = ipc::UniqueFd(::fcntl(socket, F_DUPFD_CLOEXEC, 0));
    return state->descriptor.get() >= 0 ? NATS_OK : NATS_SYS_ERROR;
  }
  static natsStatus poll_read(void* closure, bool add) {
    if (!add) {
      static_cast<State*>(closure)->ended = true;
    }
    return NATS_OK;
  }
  static natsStatus poll_write(void* closure, bool add) {
    auto* state = static_cast<State*>(closure);
    state->wants_to_send = add;
    if (add) {
      state->callbacks.on_unwritten();
    }
    return NATS_OK;
  }
  static natsStatus detach(void* closure) {
    static_cast<State*>(closure)->ended = true;
    return NATS_OK;
  }

  // ---- nats.c's thread for callbacks

  static void on_closed(natsConnection* connection, void* closure) {
    const char* text = nullptr;
    const natsStatus status = natsConnection_GetLastError(connection, &text);
    const std::string reason =
        status == NATS_OK ? "the broker closed the connection" : status_text(status, text);
    link_listeners().call(closure,
                          [&](const LinkCallbacks& callbacks) { callbacks.on_lost(reason); });
  }
  static void on_no_responders(natsConnection* /*connection*/, natsSubscription* /*subscription*/,
                               natsMsg* message, void* closure) {
    if (message != nullptr) {
      link_listeners().call(closure, [&](const LinkCallbacks& callbacks) {
        callbacks.on_no_responders(taken_from(message));
      });
      natsMsg_Destroy(message);
    }
  }
  static void on_error(natsConnection* /*connection*/, natsSubscription* /*subscription*/,
                       natsStatus status, void* closure) {
    BrokerProblemKind kind = BrokerProblemKind::kConnectFailed;
    if (status == NATS_NOT_PERMITTED) {
      kind = BrokerProblemKind::kNotPermitted;
    } else if (status == NATS_SLOW_CONSUMER) {
      kind = BrokerProblemKind::kSlowConsumer;
    }
    link_listeners().call(closure, [&](const LinkCallbacks& callbacks) {
      callbacks.on_problem({kind, 1, error_text(status)});
    });
  }

  // ---- the thread that connects

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
    LinkCallbacks callbacks) {
  open_library();
  auto state = std::make_unique<State>();
  state->callbacks = std::move(callbacks);
  state->listener = link_listeners().add(state->callbacks);
  state->key = key.duplicate();
  state->jwt = access.jwt;
  state->buffer_bytes = static_cast<std::size_t>(options.buffer_bytes);
  std::unique_ptr<BrokerLink> link(new BrokerLink(std::move(state)));
  if (auto connected = link->connect(options, access); !connected) {
    return std::unexpected(std::move(connected.error()));
  }
  if (auto subscribed = link->subscribe(options); !subscribed) {
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
  set(natsOptions_SetTimeout(made, options.connect_timeout.count()));
  set(natsOptions_SetAllowReconnect(made, false));
  set(natsOptions_SetReconnectBufSize(made, 0));
  set(natsOptions_SetPingInterval(made, 0));
  set(natsOptions_UseGlobalMessageDelivery(made, true));
  set(natsOptions_SetEventLoop(made, state, State::attach, State::poll_read, State::poll_write,
                               State::detach));
  set(natsOptions_SetIgnoreDiscoveredServers(made, true));
  set(natsOptions_SetIOBufSize(made, options.buffer_bytes));
  set(natsOptions_SetClosedCB(made, State::on_closed, state->listener));
  set(natsOptions_SetErrorHandler(made, State::on_error, state->listener));
  if (!access.jwt.empty()) {
    set(natsOptions_SetUserCredentialsCallbacks(made, State::give_jwt, state, State::sign_nonce,
                                                state));
  }
  if (status != NATS_OK) {
    return std::unexpected(error_text(status));
  }
  status = natsConnection_Connect(&state->connection, made);
  if (status != NATS_OK) {
    return std::unexpected(error_text(status));
  }
  return {};
}

// Without a callback, so that receive() takes the messages in the loop's thread.
std::expected<void, std::string> BrokerLink::subscribe(const LinkOptions& options) {
  for (const std::string& subject : options.subjects) {
    natsSubscription* subscription = nullptr;
    const natsStatus status =
        natsConnection_SubscribeSync(&subscription, state_->connection, subject.c_str());
    if (status != NATS_OK) {
      return std::unexpected(error_text(status));
    }
    state_->subscriptions.push_back(subscription);
  }
  if (options.no_responders_subject.empty()) {
    return {};
  }
  const natsStatus status = natsConnection_Subscribe(&state_->no_responders, state_->connection,
                                                     options.no_responders_subject.c_str(),
                                                     State::on_no_responders, state_->listener);
  if (status != NATS_OK) {
    return std::unexpected(error_text(status));
  }
  return {};
}

// The server works in order: when its PONG is here, the subscriptions stand or have been refused.
BrokerLink::FlushStatus BrokerLink::flush(milliseconds timeout) {
  switch (natsConnection_FlushTimeout(state_->connection, timeout.count())) {
    case NATS_OK:
      return FlushStatus::kDone;
    case NATS_TIMEOUT:
      return FlushStatus::kTimeout;
    default:
      return FlushStatus::kBroken;
  }
}

std::expected<void, std::string> BrokerLink::refused() const {
  const char* text = nullptr;
  if (natsConnection_GetLastError(state_->connection, &text) == NATS_NOT_PERMITTED) {
    return std::unexpected(status_text(NATS_NOT_PERMITTED, text));
  }
  return {};
}

std::string BrokerLink::last_error() {
  natsStatus status = NATS_OK;
  const char* text = nats_GetLastError(&status);
  return status_text(status, text);
}

void BrokerLink::drain(milliseconds timeout) {
  for (natsSubscription* subscription : state_->subscriptions) {
    natsSubscription_DrainTimeout(subscription, timeout.count());
  }
  const auto end = std::chrono::steady_clock::now() + timeout;
  for (natsSubscription* subscription : state_->subscriptions) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    natsSubscription_WaitForDrainCompletion(subscription, std::max<std::int64_t>(1, left.count()));
  }
}

int BrokerLink::descriptor() const {
  return state_->descriptor.get();
}

bool BrokerLink::ended() const {
  return state_->ended;
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
      ++state_->unwritten_messages;
      return PublishStatus::kPublished;
    case NATS_MAX_PAYLOAD:
    case NATS_INVALID_SUBJECT:
    case NATS_INVALID_ARG:
      return PublishStatus::kRefused;
    default:
      return PublishStatus::kBroken;
  }
}

BrokerLink::Unwritten BrokerLink::unwritten() const {
  const int bytes = natsConnection_Buffered(state_->connection);
  return {.bytes = bytes > 0 ? static_cast<std::size_t>(bytes) : 0,
          .messages = state_->unwritten_messages};
}

bool BrokerLink::wants_to_send() const {
  return state_->wants_to_send;
}

void BrokerLink::send() {
  natsConnection_ProcessWriteEvent(state_->connection);
  if (!state_->wants_to_send && !state_->ended) {
    state_->unwritten_messages = 0;
  }
}

void BrokerLink::receive() {
  for (std::size_t asked = 0; asked < kMostReceivedBytes && !state_->ended;
       asked += state_->buffer_bytes) {
    natsConnection_ProcessReadEvent(state_->connection);
    for (natsSubscription* subscription : state_->subscriptions) {
      take_from(subscription);
    }
    if (state_->spent.size() >= kSpentMessages || state_->spent_bytes >= kSpentBytes) {
      state_->destroy_spent();
    }
    int more = 0;
    if (::ioctl(descriptor(), FIONREAD, &more) != 0 || more <= 0) {
      return;
    }
  }
}

void BrokerLink::take_from(natsSubscription* subscription) {
  std::uint64_t queued = 0;
  natsSubscription_QueuedMsgs(subscription, &queued);
  for (; queued > 0; --queued) {
    natsMsg* message = nullptr;
    const natsStatus status = natsSubscription_NextMsg(&message, subscription, 0);
    if (status == NATS_OK) {
      state_->heard = true;
      state_->spent.push_back(message);
      state_->spent_bytes += static_cast<std::size_t>(natsMsg_GetDataLength(message));
      state_->callbacks.on_message(taken_from(message));
    } else if (status != NATS_NO_RESPONDERS) {  // those have a subscription of their own
      return;
    }
  }
}

bool BrokerLink::heard() {
  return state_->heard.exchange(false);
}

BrokerLink::~BrokerLink() {
  link_listeners().remove(state_->listener);
  state_->destroy_spent();
  // First the connection: after an UNSUB it would wait 500 ms for the loop to write that.
  natsConnection_Close(state_->connection);
  for (natsSubscription* subscription : state_->subscriptions) {
    natsSubscription_Destroy(subscription);
  }
  natsSubscription_Destroy(state_->no_responders);
  natsConnection_Destroy(state_->connection);
}

}  // namespace cosigner::worker
