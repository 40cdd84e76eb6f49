// The protocol that an attempt runs, and what it is bound to. See session.h.

#include "worker/session/session.h"

namespace cosigner::worker {

AttemptScope Session::scope() const {
  return {.cluster = environment_.cluster,
          .user = environment_.user,
          .key = request_.key,
          .epoch = epoch_,
          .session = id_,
          .attempt = attempt_.number};
}

Result<SignParameters> Session::sign_parameters(ParticipantIndex assembler) {
  const KeyEpoch* key = parts_.keys.find(request_.key);
  const Expected<ByteView> share = parts_.keys.share(request_.key);
  if (!share || key == nullptr || key->digest != record_digest_) {
    return recoverable(share ? "the key changed under this session" : share.error().message);
  }
  return SignParameters{
      .record = to_public_key_record(key->record),
      .secret = *share,
      .message = request_.message,
      .path = request_.path,
      .context = attempt_context(scope(), request_.scheme, threshold_, participants_),
      .self = self_,
      .assembler = assembler};
}

Result<std::unique_ptr<Protocol>> Session::make_protocol() {
  if (!keygen()) {
    Result<SignParameters> parameters = sign_parameters(index_of(order_.of(attempt_.number)));
    if (!parameters) {
      return std::unexpected(parameters.error());
    }
    if (renews_) {
      return parts_.protocols.renewal(dkls23::RenewalParameters{.record = parameters->record,
                                                                .secret = parameters->secret,
                                                                .context = parameters->context,
                                                                .self = self_,
                                                                .peer = index_of(*renews_)},
                                      environment_.random);
    }
    return parts_.protocols.sign(*std::move(parameters), environment_.random);
  }
  std::vector<Ed25519PublicKey> identities;
  std::vector<ParticipantIndex> indices;
  for (const Participant& participant : participants_) {
    const Ed25519PublicKey* identity = peers_.identity(participant.node);
    if (identity == nullptr) {
      return recoverable("node " + participant.node + " is not among this node's peers");
    }
    identities.push_back(*identity);
    indices.push_back(participant.index);
  }
  const Digest context =
      attempt_context(scope(), request_.scheme, threshold_, participants_, identities);
  return parts_.protocols.keygen(KeygenParameters{.scheme = request_.scheme,
                                                  .context = context,
                                                  .threshold = threshold_,
                                                  .participants = std::move(indices),
                                                  .self = self_},
                                 environment_.random);
}

}  // namespace cosigner::worker
