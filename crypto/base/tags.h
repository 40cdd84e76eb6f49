#pragma once
// Every domain-separation tag of the system, in one place. No tag is shared between protocols or
// versions (tests/unit/dkls/CHECKLIST.md, ToB-11). Building blocks that several protocols use
// (pairs, base OT, PPRF, OT extension, VOLE, zero shares) have tags of their own; what they hash
// begins with a session id, and that has its protocol's tag. tests/unit/base checks that all tags
// differ, tests/support/checklist that each is used in one place.

#include <array>
#include <string_view>

namespace cosigner::tag {

/// A registered tag. Only this file makes them.
struct Tag {
  std::string_view name;
};

#define COSIGNER_TAGS(X)                                                   \
  /* requests, answers, statements, certificates (ipc, crypto/identity) */ \
  X(kRequest, "cosigner/1/request")                                        \
  X(kAnswer, "cosigner/1/answer")                                          \
  X(kStatement, "cosigner/1/statement")                                    \
  X(kCertificate, "cosigner/1/certificate")                                \
  X(kUserSubject, "cosigner/1/user-subject")                               \
  X(kKeyAcknowledgement, "cosigner/1/key-acknowledgement")                 \
  X(kFingerprint, "cosigner/1/fingerprint")                                \
  /* pairwise channels, sealing, store */                                  \
  X(kChannel, "cosigner/1/channel")                                        \
  X(kChannelAad, "cosigner/1/channel-aad")                                 \
  X(kUserSealingKey, "cosigner/1/user-sealing-key")                        \
  X(kShareAad, "cosigner/1/share-aad")                                     \
  X(kStoreMacKey, "cosigner/1/store-mac-key")                              \
  X(kStoreRow, "cosigner/1/store-row")                                     \
  /* sessions */                                                           \
  X(kHello, "cosigner/1/session/hello")                                    \
  X(kHelloSet, "cosigner/1/session/hello-set")                             \
  X(kStart, "cosigner/1/session/start")                                    \
  X(kCoordinatorOrder, "cosigner/1/session/coordinator-order")             \
  X(kAttempt, "cosigner/1/session/attempt")                                \
  X(kPresignRun, "cosigner/1/session/presign-run")                         \
  X(kRenewalSession, "cosigner/1/session/renewal")                         \
  X(kPresence, "cosigner/1/presence")                                      \
  /* common DKG */                                                         \
  X(kDkgSid, "cosigner/1/dkg/sid")                                         \
  X(kDkgCommitment, "cosigner/1/dkg/commitment")                           \
  X(kDkgCoefficientProof, "cosigner/1/dkg/coefficient-proof")              \
  X(kDkgShareProof, "cosigner/1/dkg/share-proof")                          \
  X(kDkgEcho, "cosigner/1/dkg/echo")                                       \
  X(kDkgShareKey, "cosigner/1/dkg/share-key")                              \
  X(kDkgCiphertext, "cosigner/1/dkg/ciphertext")                           \
  X(kDkgAggregate, "cosigner/1/dkg/aggregate")                             \
  X(kDkgChainCode, "cosigner/1/dkg/chain-code")                            \
  X(kDkgTranscript, "cosigner/1/dkg/transcript")                           \
  /* FROST signing sessions */                                             \
  X(kFrostContext, "cosigner/1/frost/context")                             \
  /* DKLs23 */                                                             \
  X(kPair, "cosigner/1/dkls/pair")                                         \
  X(kBaseOtHash, "cosigner/1/bot/h")                                       \
  X(kBaseOtKey, "cosigner/1/bot/key")                                      \
  X(kPprfExpand, "cosigner/1/pprf/g")                                      \
  X(kPprfProof, "cosigner/1/pprf/proof")                                   \
  X(kPprfHash, "cosigner/1/pprf/hash")                                     \
  X(kOtExtensionPrg, "cosigner/1/ss/prg")                                  \
  X(kOtExtensionU, "cosigner/1/ss/u")                                      \
  X(kOtExtensionChi, "cosigner/1/ss/chi")                                  \
  X(kOtExtensionOut, "cosigner/1/ss/out")                                  \
  X(kVoleGadget, "cosigner/1/vole/gadget")                                 \
  X(kVoleTheta, "cosigner/1/vole/theta")                                   \
  X(kVoleMu, "cosigner/1/vole/mu")                                         \
  X(kSignContext, "cosigner/1/sign/context")                               \
  X(kSignSid, "cosigner/1/sign/sid")                                       \
  X(kSignCommitment, "cosigner/1/sign/commitment")                         \
  X(kSignEcho, "cosigner/1/sign/echo")                                     \
  X(kSignRerandomise, "cosigner/1/sign/rerandomise")                       \
  X(kPresignedKey, "cosigner/1/presigned/key")                             \
  X(kPresignedEcho, "cosigner/1/presigned/echo")                           \
  X(kRenewalSid, "cosigner/1/renewal/sid")                                 \
  X(kRenewalEcho, "cosigner/1/renewal/echo")                               \
  X(kRenewalShareKey, "cosigner/1/renewal/share-key")                      \
  X(kZeroShare, "cosigner/1/zero-share")

#define COSIGNER_DEFINE_TAG(identifier, text) inline constexpr Tag identifier{text};
COSIGNER_TAGS(COSIGNER_DEFINE_TAG)
#undef COSIGNER_DEFINE_TAG

#define COSIGNER_LIST_TAG(identifier, text) Tag{text},
inline constexpr std::array kAll{COSIGNER_TAGS(COSIGNER_LIST_TAG)};
#undef COSIGNER_LIST_TAG

}  // namespace cosigner::tag
