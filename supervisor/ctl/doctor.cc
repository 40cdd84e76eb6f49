#include "supervisor/ctl/doctor.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timex.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>

#include "ipc/joined.h"
#include "ipc/unique_fd.h"
#include "supervisor/config/host_check.h"
#include "supervisor/ctl/doctor_expiry.h"
#include "supervisor/ctl/doctor_findings.h"
#include "supervisor/ctl/table.h"
#include "supervisor/service/clock.h"

namespace cosigner::ctl {
namespace {

const char* verdict_name(Verdict verdict) {
  return verdict == Verdict::kOk ? "ok" : verdict == Verdict::kWarning ? "warning" : "failed";
}

KernelFacts ask_kernel() {
  KernelFacts out;
  timex clock{};
  const int state = ::adjtimex(&clock);
  out.clock_synchronised = state >= 0 && state != TIME_ERROR && (clock.status & STA_UNSYNC) == 0;
  out.clock_error_us = clock.maxerror;
  std::ifstream("/proc/sys/kernel/pid_max") >> out.pid_max;
  return out;
}

/// The first line of the broker at nats://HOST:PORT, within two seconds.
BrokerFacts ask_broker(const std::string& url) {
  constexpr int kPatienceMs = 2000;
  const std::string address = url.substr(url.find("//") + 2);
  const std::size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  const std::string port = colon == std::string::npos ? "4222" : address.substr(colon + 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return {};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  const ipc::UniqueFd socket(
      ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket ||
      (::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)) {
    return {};
  }
  std::string line;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (line.find('\n') == std::string::npos && line.size() < 65536) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          end - std::chrono::steady_clock::now())
                          .count();
    pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) <= 0) {
      break;
    }
    char buffer[4096];
    const ssize_t got = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (got <= 0) {
      break;
    }
    line.append(buffer, static_cast<std::size_t>(got));
  }
  return parse_broker_info(std::string_view(line).substr(0, line.find('\n')));
}

std::int64_t now_ms() {
  return static_cast<std::int64_t>(supervisor::wall_ms());
}

Outcome<Json> ask_node(const Context& context, std::string_view command) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  const auto body = node->call(command, no_arguments());
  if (!body) {
    return std::unexpected(body.error());
  }
  return parse_body(*body);
}

}  // namespace

Outcome<void> run_doctor(const Context& context, const std::string& configuration) {
  std::vector<Finding> findings;
  const auto add = [&findings](std::vector<Finding> more) {
    std::ranges::move(more, std::back_inserter(findings));
  };
  std::uint64_t max_workers = supervisor::WorkerLimits{}.max_workers;
  std::vector<std::string> untold;
  const auto config = supervisor::check_config(configuration, &untold);
  if (config) {
    max_workers = config->workers.max_workers;
    findings.push_back({"configuration", Verdict::kOk, configuration + " is good", ""});
    findings.push_back(judge_broker(config->broker.url, ask_broker(config->broker.url)));
  } else {
    for (const supervisor::ConfigProblem& problem : config.error()) {
      findings.push_back({"configuration", Verdict::kFailed,
                          problem.file +
                              (problem.line > 0 ? ":" + std::to_string(problem.line) : "") + ": " +
                              problem.message,
                          problem.remedy});
    }
  }
  add(check_expiries(std::filesystem::absolute(configuration).parent_path(), now_ms() / 1000));
  if (!untold.empty()) {
    findings.push_back({"key files", Verdict::kWarning,
                        "cannot tell as this user: " + joined(untold), "run this as root"});
  }
  add(judge_kernel(ask_kernel(), max_workers));
  if (const auto status = ask_node(context, "status")) {
    add(judge_status(*status));
    if (const auto reply = ask_node(context, "self-check")) {
      add(judge_self_check(*reply, now_ms()));
    } else {
      findings.push_back({"store", Verdict::kFailed, reply.error().error.message,
                          "see the node's log: journalctl -u cosigner"});
    }
  } else {
    findings.push_back({"node", Verdict::kFailed, status.error().error.message,
                        "start it: systemctl start cosigner (or name its socket with --socket)"});
    std::error_code unknown;
    if (config) {
      const auto space = std::filesystem::space(config->state_directory, unknown);
      if (!unknown) {
        findings.push_back(judge_space(space.available));
      }
    }
  }

  const auto failures = std::ranges::count(findings, Verdict::kFailed, &Finding::verdict);
  if (context.json) {
    Json checks = Json::array();
    for (const Finding& finding : findings) {
      checks.push_back({{"check", finding.check},
                        {"verdict", verdict_name(finding.verdict)},
                        {"detail", finding.detail},
                        {"remedy", finding.remedy}});
    }
    context.out << Json{{"ok", failures == 0}, {"checks", checks}}.dump() << "\n";
  } else {
    Table table({"CHECK", "", "DETAIL"});
    for (const Finding& finding : findings) {
      table.row({finding.check, verdict_name(finding.verdict), finding.detail});
      if (!finding.remedy.empty()) {
        table.row({"", "", "  -> " + finding.remedy});
      }
    }
    context.out << table.text();
  }
  if (failures == 0) {
    return {};
  }
  auto failure =
      failed(config ? ExitStatus::kRefused : ExitStatus::kConfiguration, ErrorCode::kInternal,
             failures == 1 ? "a check failed" : std::to_string(failures) + " checks failed");
  failure.error().reported = true;
  return failure;
}

}  // namespace cosigner::ctl
