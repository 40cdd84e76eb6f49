// Key generation against dealers that keep to the format and lie in the contents, and accusers that
// lie about dealers. The cheat runs honest code; a recording generator gives the test its secrets,
// and the hook rewrites its messages.
#include <catch2/catch.hpp>
#include <deque>
#include <map>

#include "crypto/dkg/dkg.h"
#include "crypto/ed25519/group.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"
#include "tests/unit/crypto/field_mutations.h"

using namespace cosigner;
using namespace cosigner::test;
using Indices = std::vector<ParticipantIndex>;
using Group = Ed25519Group;

namespace {

/// Keeps what it gave out, in order.
class RecordingRandom final : public Random {
 public:
  explicit RecordingRandom(std::uint64_t seed) : inner_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    inner_.fill(out);
    drawn.push_back(to_vector(out));
  }
  std::vector<ByteVector> drawn;

 private:
  SeededRandom inner_;
};

constexpr std::uint16_t kThreshold = 2;
const Indices kParticipants{1, 2, 3, 4};

/// A key generation of 2 of 4 whose messages can be rewritten with the knowledge of their senders.
struct Stage {
  std::map<ParticipantIndex, RecordingRandom> randoms;
  std::map<ParticipantIndex, ByteVector> hellos;  // as the honest see them
  std::map<std::pair<ParticipantIndex, ParticipantIndex>, ByteVector> deals;  // as delivered
  std::function<void(Envelope&)> rewrite;

  RunReport run() {
    for (const ParticipantIndex index : kParticipants) {
      randoms.try_emplace(index, 100U + index);
    }
    return run_keygen(
        Scheme::kEd25519, kThreshold, kParticipants,
        [&](ParticipantIndex index) -> Random& { return randoms.at(index); },
        [&](ProtocolRunner& runner) {
          binding = runner.binding;
          runner.hook = [this](Envelope& e) {
            if (rewrite) {
              rewrite(e);
            }
            if (e.round == 0 && e.to != e.from) {
              hellos[e.from] = e.payload;
            }
            if (e.round == 2) {
              deals[{e.from, e.to}] = e.payload;
            }
          };
        });
  }

  // The constructor draws the coefficients, then the encryption key, chain-code share, blinding.
  X25519SecretKey encryption_key(ParticipantIndex index) const {
    return X25519SecretKey::from(randoms.at(index).drawn.at(kThreshold)).value();
  }
  Bytes<32> drawn(ParticipantIndex index, std::size_t position) const {
    return Bytes<32>::from(randoms.at(index).drawn.at(position)).value();
  }
  std::vector<SetMember> set() const {
    std::vector<SetMember> out;
    for (const auto& [index, hello] : hellos) {
      out.push_back({index, hello});
    }
    return out;
  }
  Digest sid() const {
    return dkg_sid(keygen_parameters(Scheme::kEd25519, kThreshold, kParticipants, 1), binding,
                   set());
  }
  Digest echo_of_hellos() const {
    std::vector<ByteVector> list;
    for (const auto& [index, hello] : hellos) {
      list.push_back(hello);
    }
    return dkg_echo(sid(), 0, kParticipants, list);
  }
  SecretBytes<32> shared(ParticipantIndex a, ParticipantIndex b) const {
    return x25519(encryption_key(a), x25519_public_key(encryption_key(b))).value();
  }
  /// What round 2 looked like to everyone.
  Digest view() const {
    std::vector<ByteVector> list;
    for (const ParticipantIndex index : kParticipants) {
      const ParticipantIndex receiver = index == 1 ? 2 : 1;
      list.push_back(
          to_vector(DkgRoundMessage::decode(deals.at({index, receiver}), index).value().broadcast));
    }
    return dkg_echo(sid(), 2, kParticipants, list);
  }
  ByteVector ciphertext(ParticipantIndex from, ParticipantIndex to) const {
    return to_vector(DkgRoundMessage::decode(deals.at({from, to}), from).value().direct);
  }

  /// Replaces the plaintext from `dealer` to `victim`, in the ciphertext and in everyone's list of
  /// hashes.
  void deal_instead(Envelope& e, ParticipantIndex dealer, ParticipantIndex victim,
                    const std::function<ByteVector(ByteVector plain)>& change) {
    if (e.from != dealer || e.round != 2) {
      return;
    }
    const ShareRoute route{sid(), dealer, victim};
    const auto message = DkgRoundMessage::decode(e.payload, dealer).value();
    if (e.to == victim) {
      original_ = to_vector(message.direct);
    }
    if (original_.empty()) {  // the victim must be the dealer's first receiver
      throw std::logic_error("the victim's ciphertext has not been seen yet");
    }
    const auto plain = open_share(shared(dealer, victim), route, original_).value();
    const ByteVector sealed =
        seal_share(shared(dealer, victim), route, change(to_vector(as_view(plain))));
    auto deal = DkgDeal::decode(message.broadcast, kParticipants.size() - 1, dealer).value();
    const auto position = std::ranges::lower_bound(kParticipants, victim) - kParticipants.begin();
    deal.ciphertext_hashes[static_cast<std::size_t>(position - (victim > dealer ? 1 : 0))] =
        hash_ciphertext(route, sealed);
    e.payload =
        DkgRoundMessage::encode(deal.encode(), e.to == victim ? ByteView(sealed) : message.direct);
  }

  Digest binding;

 private:
  ByteVector original_;
};

ByteVector plus_one(ByteVector plain) {
  const auto share = Group::decode_scalar(ByteView(plain).first(32)).value();
  const auto wrong = (share + Group::scalar(1)).encode();
  std::copy(wrong.data.begin(), wrong.data.end(), plain.begin());
  return plain;
}

void everyone_blames(const RunReport& run, const Indices& culprits, const Indices& except) {
  for (const ParticipantIndex index : kParticipants) {
    if (std::ranges::find(except, index) != except.end()) {
      continue;
    }
    INFO("participant " << index);
    REQUIRE(run.at(index).abort);
    INFO(run.at(index).abort->reason);
    CHECK(run.at(index).abort->culprits == culprits);
    CHECK_FALSE(run.at(index).outcome);
  }
}

}  // namespace

TEST_CASE("DKG complaint: a dealer that sends one participant a wrong share is named by everyone") {
  const auto check = [](const std::function<ByteVector(ByteVector)>& change, const char* what) {
    INFO(what);
    Stage stage;
    stage.rewrite = [&](Envelope& e) { stage.deal_instead(e, 3, 1, change); };
    const RunReport run = stage.run();
    everyone_blames(run, {3}, {3});
    for (const ParticipantIndex index : Indices{1, 2, 4}) {
      CHECK(run.at(index).abort->abort_class == AbortClass::kAttributable);
    }
  };
  check(plus_one, "another share");
  check([](ByteVector) { return ByteVector(32, 0); }, "zero");
  check([](ByteVector) { return ByteVector(32, 0xff); }, "above the order");
  check([](ByteVector) { return ByteVector(); }, "nothing");
  check(
      [](ByteVector plain) {
        plain.pop_back();
        return plain;
      },
      "one byte short");
  check(
      [](ByteVector plain) {
        plain.push_back(0);
        return plain;
      },
      "one byte too many");
}

TEST_CASE("DKG complaint: a ciphertext that does not open is the dealer's fault") {
  Stage stage;
  ByteVector broadcast;
  const ByteVector garbage(48, 0xee);
  stage.rewrite = [&](Envelope& e) {
    if (e.from != 3 || e.round != 2) {
      return;
    }
    const auto message = DkgRoundMessage::decode(e.payload, 3).value();
    auto deal = DkgDeal::decode(message.broadcast, 3, 3).value();
    deal.ciphertext_hashes[0] = hash_ciphertext({stage.sid(), 3, 1}, garbage);
    e.payload =
        DkgRoundMessage::encode(deal.encode(), e.to == 1 ? ByteView(garbage) : message.direct);
  };
  everyone_blames(stage.run(), {3}, {3});
}

TEST_CASE("DKG complaint: two wrong dealers are both named") {
  Stage stage;
  Stage second;  // only for its memory of the second dealer's ciphertext
  stage.rewrite = [&](Envelope& e) {
    stage.deal_instead(e, 3, 1, plus_one);
    second.hellos = stage.hellos;
    second.binding = stage.binding;
    second.randoms = stage.randoms;
    second.deal_instead(e, 4, 1, plus_one);
  };
  everyone_blames(stage.run(), {3, 4}, {3, 4});
}

TEST_CASE("DKG complaint: false accusers are named, by whatever they lie about") {
  // 2 accuses 3, whose deal is right.
  const auto check = [](const std::function<void(Stage&, DkgComplaint&)>& change,
                        const Indices& culprits, const char* what) {
    INFO(what);
    Stage stage;
    stage.rewrite = [&](Envelope& e) {
      if (e.from != 2 || e.round != 3) {
        return;
      }
      DkgComplaint complaint;
      complaint.view = stage.view();
      complaint.key = stage.encryption_key(2);
      complaint.accusations.push_back({3, stage.ciphertext(3, 2)});
      change(stage, complaint);
      e.payload = complaint.encode();
    };
    everyone_blames(stage.run(), culprits, {2});
  };
  check([](Stage&, DkgComplaint&) {}, {2}, "the share is right");
  check([](Stage& s, DkgComplaint& c) { c.key = s.encryption_key(4); }, {2}, "another key");
  check([](Stage&, DkgComplaint& c) { c.accusations[0].ciphertext[3] ^= 1U; }, {2},
        "another ciphertext");
  check([](Stage& s, DkgComplaint& c) { c.accusations[0].ciphertext = s.ciphertext(3, 4); }, {2},
        "another receiver's ciphertext");
  check([](Stage&, DkgComplaint& c) { c.accusations[0].dealer = 2; }, {2}, "itself");
  check([](Stage&, DkgComplaint& c) { c.accusations[0].dealer = 0; }, {2}, "nobody");
  check([](Stage&, DkgComplaint& c) { c.accusations[0].dealer = 9; }, {2}, "a stranger");
  check([](Stage&, DkgComplaint& c) { c.accusations.clear(); }, {2}, "without accusation");
  check([](Stage& s, DkgComplaint& c) { c.accusations.push_back({3, s.ciphertext(3, 2)}); }, {2},
        "twice the same");
  check([](Stage&, DkgComplaint& c) { c.view.data[0] ^= 1U; }, {}, "another view: nobody");
}

TEST_CASE("DKG complaint: every field of a complaint, altered in every way") {
  // 3 deals 1 a wrong share; 1 complains, and rightly. 2 and 4 judge what comes of it.
  ByteVector complaint;
  const auto judged = [&](const std::optional<ByteVector>& instead) {
    Stage stage;
    stage.rewrite = [&](Envelope& e) {
      stage.deal_instead(e, 3, 1, plus_one);
      if (e.from == 1 && e.round == 3) {
        complaint = e.payload;
        e.payload = instead.value_or(e.payload);
      }
    };
    return stage.run();
  };
  everyone_blames(judged(std::nullopt), {3}, {3});
  const ByteVector honest = complaint;
  REQUIRE(honest.front() == DkgComplaint::kKind);
  const std::vector<Field> fields{{"kind", 0, 1, FieldKind::kCount, Blame::kSender},
                                  {"view", 1, 32, FieldKind::kBytes, Blame::kNobody},
                                  {"key", 33, 32, FieldKind::kBytes, Blame::kSender},
                                  {"accusations", 65, 2, FieldKind::kCount, Blame::kSender},
                                  {"dealer", 67, 2, FieldKind::kCount, Blame::kSender},
                                  {"length", 69, 4, FieldKind::kCount, Blame::kSender},
                                  {"ciphertext", 73, 48, FieldKind::kBytes, Blame::kSender}};
  REQUIRE(honest.size() == fields.back().offset + fields.back().size);
  for (const Field& field : fields) {
    for (const FieldMutation& mutation : mutations_of(honest, field, {})) {
      INFO(field.name << ": " << mutation.name);
      // X25519 ignores the lowest and the highest bits of a secret: it is the same key.
      const bool same = field.name == "key" && mutation.name.starts_with("bit ");
      everyone_blames(judged(mutation.payload),
                      same                               ? Indices{3}
                      : mutation.blame == Blame::kNobody ? Indices{}
                                                         : Indices{1},
                      {1, 3});
    }
  }
}

TEST_CASE("DKG: the last dealer cannot choose the key, for its vector is committed to") {
  // 4 opens last, knows everyone's vectors, and opens to another polynomial with valid proofs.
  Stage stage;
  stage.rewrite = [&](Envelope& e) {
    if (e.from != 4 || e.round != 1) {
      return;
    }
    SeededRandom random(77);
    const auto polynomial = SecretPolynomial<Group>::random(kThreshold, random);
    auto opening = DkgOpening<Group>::decode(
                       DkgRoundMessage::decode(e.payload, 4).value().broadcast, kThreshold, 4)
                       .value();
    opening.vector = polynomial.feldman_vector();
    for (std::size_t k = 0; k < kThreshold; ++k) {
      opening.proofs[k] =
          SchnorrProof<Group>::prove(dkg_coefficient_statement(stage.sid(), 4, k),
                                     polynomial.coefficients()[k], opening.vector[k], random);
    }
    e.payload = DkgRoundMessage::encode(opening.encode(), {});
  };
  everyone_blames(stage.run(), {4}, {4});
}

namespace {

/// 4's hello and opening are made by the test; the honest see nothing else of it.
RunReport run_with_opening(
    const std::function<void(DkgOpening<Group>&, const Digest& sid, Random&)>& change,
    ParticipantIndex committed_index = 4) {
  Stage stage;
  SeededRandom random(78);
  auto polynomial = SecretPolynomial<Group>::random(kThreshold, random);
  DkgOpening<Group> opening;
  opening.vector = polynomial.feldman_vector();
  {
    // The length of the vector must be settled before it is committed to.
    DkgOpening<Group> probe = opening;
    change(probe, Digest(), random);
    opening.vector = probe.vector;
  }
  const auto parameters = keygen_parameters(Scheme::kEd25519, kThreshold, kParticipants, 4);
  std::vector<ByteVector> encoded;
  for (const auto& point : opening.vector) {
    encoded.push_back(to_vector(point.view()));
  }
  const Digest commitment =
      dkg_commitment(parameters, committed_index, encoded, Bytes<32>(), Bytes<32>());
  stage.rewrite = [&](Envelope& e) {
    if (e.from != 4 || e.to == 4) {
      return;
    }
    if (e.round == 0) {
      auto hello = DkgHello::decode(e.payload, 4).value();
      hello.commitment = commitment;
      e.payload = hello.encode();
    } else if (e.round == 1) {
      DkgOpening<Group> sent = opening;
      sent.echo = stage.echo_of_hellos();
      for (std::size_t k = 0; k < sent.vector.size(); ++k) {
        const std::size_t known = std::min<std::size_t>(k, kThreshold - 1);
        sent.proofs.push_back(
            SchnorrProof<Group>::prove(dkg_coefficient_statement(stage.sid(), 4, k),
                                       polynomial.coefficients()[known], sent.vector[k], random));
      }
      change(sent, stage.sid(), random);
      sent.vector = opening.vector;
      e.payload = DkgRoundMessage::encode(sent.encode(), {});
    }
  };
  return stage.run();
}

}  // namespace

TEST_CASE("DKG: openings that fit their commitment but not the protocol are blamed on the dealer") {
  // Without any change the opening is accepted: nobody aborts over 4's opening.
  for (const ParticipantIndex index : Indices{1, 2, 3}) {
    const RunReport run = run_with_opening([](auto&, const Digest&, Random&) {});
    CHECK((!run.at(index).abort || run.at(index).abort->culprits.empty()));
  }
  everyone_blames(run_with_opening([](auto& opening, const Digest&, Random&) {
                    opening.vector.push_back(opening.vector.front());
                  }),
                  {4}, {4});  // a higher degree
  everyone_blames(run_with_opening([](auto& opening, const Digest&, Random&) {
                    opening.vector.resize(1, opening.vector.front());
                  }),
                  {4}, {4});  // a lower degree
  everyone_blames(run_with_opening([](auto& opening, const Digest&, Random&) {
                    if (!opening.proofs.empty()) {
                      opening.proofs.pop_back();
                    }
                  }),
                  {4}, {4});  // a proof missing
  everyone_blames(run_with_opening([](auto& opening, const Digest&, Random&) {
                    if (!opening.proofs.empty()) {
                      opening.proofs.push_back(opening.proofs.front());
                    }
                  }),
                  {4}, {4});  // a proof more than there are coefficients, and counted
  everyone_blames(run_with_opening([](auto& opening, const Digest&, Random&) {
                    if (!opening.proofs.empty()) {
                      std::swap(opening.proofs[0], opening.proofs[1]);
                    }
                  }),
                  {4}, {4});  // proofs exchanged
  // A commitment made under another index, as if copied from its owner.
  everyone_blames(run_with_opening([](auto&, const Digest&, Random&) {}, 1), {4}, {4});
}

TEST_CASE("DKG: copying another's commitment and opening, or its proofs, does not help") {
  Stage stage;
  ByteVector copied_hello;
  ByteVector copied_opening;
  stage.rewrite = [&](Envelope& e) {
    if (e.from == 1 && e.round == 1) {
      copied_opening = e.payload;
    }
    if (e.from == 1 && e.round == 0) {
      copied_hello = e.payload;
    }
    if (e.from == 4 && e.to != 4) {
      if (e.round == 0) {  // 1's commitment, own nonce and key
        std::copy(copied_hello.begin() + 32, copied_hello.begin() + 64, e.payload.begin() + 32);
      } else if (e.round == 1) {
        e.payload = copied_opening;
      }
    }
  };
  everyone_blames(stage.run(), {4}, {4});
}

TEST_CASE("Schnorr proofs are bound to statement, point and session") {
  SeededRandom random(79);
  const auto secret = ed25519::SecretScalar::random(random);
  const auto point = *Group::multiply_base(secret);
  Digest sid;
  const auto proof =
      SchnorrProof<Group>::prove(dkg_coefficient_statement(sid, 1, 0), secret, point, random);
  CHECK(proof.verify_vartime(dkg_coefficient_statement(sid, 1, 0), point));
  CHECK_FALSE(proof.verify_vartime(dkg_coefficient_statement(sid, 2, 0), point));
  CHECK_FALSE(proof.verify_vartime(dkg_coefficient_statement(sid, 1, 1), point));
  CHECK_FALSE(proof.verify_vartime(dkg_coefficient_statement(sid, 1, 0), Group::negate(point)));
  sid.data[0] = 1;
  CHECK_FALSE(proof.verify_vartime(dkg_coefficient_statement(sid, 1, 0), point));
}
