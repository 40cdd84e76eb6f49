// cosignerctl doctor: what expires, and when it says so.

#include "supervisor/ctl/doctor_expiry.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "supervisor/broker/jwt.h"
#include "supervisor/ctl/setup/credentials_end.h"
#include "supervisor/ctl/setup/tls_authority.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::ctl::test {
namespace {

constexpr std::int64_t kToday = 1'800'000'000;
constexpr std::int64_t kDay = 86'400;

broker::SecretText credentials(std::int64_t expires_at_s) {
  SeededRandom random(7);
  const auto signer = broker::Nkey::generate(broker::NkeyKind::kAccount, random);
  const auto user = broker::Nkey::generate(broker::NkeyKind::kUser, random);
  const auto jwt = broker::mint_user(signer, {.key = user.public_key(),
                                              .name = "client",
                                              .account = signer.public_text(),
                                              .issued_at_s = kToday,
                                              .expires_at_s = expires_at_s});
  return broker::credentials_file(jwt.value(), user);
}

template <class Text>
void write(const std::filesystem::path& path, const Text& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path).write(text.data(), static_cast<std::streamsize>(text.size()));
}

Verdict verdict_at(std::int64_t ends_s, Verdict when_over) {
  const Finding found = judge_expiry({.check = "certificate",
                                      .path = "/x",
                                      .ends_s = ends_s,
                                      .when_over = when_over,
                                      .remedy = "renew it"},
                                     kToday);
  CHECK((found.verdict == Verdict::kOk) == found.remedy.empty());
  return found.verdict;
}

}  // namespace

TEST_CASE("doctor: a warning for thirty days, then a verdict of its own") {
  CHECK(verdict_at(0, Verdict::kFailed) == Verdict::kOk);  // never
  CHECK(verdict_at(kToday + 30 * kDay, Verdict::kFailed) == Verdict::kOk);
  CHECK(verdict_at(kToday + 30 * kDay - 1, Verdict::kFailed) == Verdict::kWarning);
  CHECK(verdict_at(kToday + 1, Verdict::kFailed) == Verdict::kWarning);
  CHECK(verdict_at(kToday, Verdict::kFailed) == Verdict::kFailed);
  CHECK(verdict_at(kToday, Verdict::kWarning) == Verdict::kWarning);
}

TEST_CASE("doctor: the end of NATS credentials") {
  CHECK(credentials_end(credentials(0)) == 0);
  CHECK(credentials_end(credentials(kToday + 5)) == kToday + 5);
  const std::string header = "-----BEGIN NATS USER JWT-----\n";
  const std::vector<std::string> broken = {
      "",
      header,
      header + " \n",
      header + "e30\n",
      header + "e30.e30\n",
      header + "e30.!.e30\n",
      header + "e30.W10.e30\n",                                           // []
      header + "e30.eyJleHAiOiJzb29uIn0.e30\n",                           // {"exp":"soon"}
      header + "e30.eyJleHAiOi0xfQ.e30\n",                                // {"exp":-1}
      std::string(std::string_view(credentials(kToday)).substr(1, 200)),  // neither header nor end
  };
  for (const std::string& text : broken) {
    INFO(text);
    CHECK_FALSE(credentials_end(text));
  }
  CHECK(credentials_end(header + "e30.e30.e30\n") == 0);  // {}
}

TEST_CASE("doctor: what expires beside the configuration") {
  const cosigner::test::TemporaryDirectory directory;
  const auto& root = directory.path();
  CHECK(check_expiries(root, kToday).empty());
  const auto authority = TlsAuthority::create("main", kToday).value();
  const auto pem = certificate_pem(authority.certificate_der().value()).value();
  write(root / "broker" / "ca.crt", pem);
  write(root / "broker" / "leaf.creds", credentials(0));
  write(root / "client.creds", credentials(kToday + 3 * kDay));
  write(root / "former.creds", credentials(kToday - 1));
  write(root / "other.creds", std::string("nothing of the kind"));
  write(root / "operator.key", std::string("no credentials, and not looked at"));

  std::vector<std::tuple<std::string, std::string, Verdict>> found;
  for (const Finding& finding : check_expiries(root, kToday)) {
    CHECK((finding.verdict == Verdict::kOk) == finding.remedy.empty());
    found.emplace_back(finding.check, finding.detail, finding.verdict);
  }
  const std::string at = root.string();
  const std::vector<std::tuple<std::string, std::string, Verdict>> expected = {
      {"certificate", at + "/broker/ca.crt is good for " + std::to_string(kAuthorityDays) + " days",
       Verdict::kOk},
      {"hub credentials", at + "/broker/leaf.creds does not expire", Verdict::kOk},
      {"client credentials", at + "/client.creds is good for 3 days", Verdict::kWarning},
      {"client credentials", at + "/former.creds has expired", Verdict::kWarning},
      {"client credentials", at + "/other.creds: these are no NATS credentials", Verdict::kWarning},
  };
  CHECK(found == expected);
  // Twenty years on, whoever signed the nats-servers' certificates is what stops them.
  const auto later = check_expiries(root, kToday + kAuthorityDays * kDay);
  CHECK(later.front().verdict == Verdict::kFailed);
}

}  // namespace cosigner::ctl::test
