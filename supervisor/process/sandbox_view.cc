#include "supervisor/process/sandbox_view.h"

#include <sys/stat.h>

#include <charconv>

#include "supervisor/process/file_contents.h"

namespace cosigner::supervisor {
namespace {

constexpr std::string_view kBlanks = " \t";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

/// Calls `line(name, rest)` for each line that begins with a name and what ends it.
template <class F>
void each_line(std::string_view text, char end_of_name, F&& line) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view whole = text.substr(0, end);
    if (const std::size_t name = whole.find(end_of_name); name != std::string_view::npos) {
      line(whole.substr(0, name), trimmed(whole.substr(name + 1)));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::optional<std::uint64_t> number(std::string_view text, int base = 10) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

/// Of the process's own user; nothing if it is gone.
std::optional<uid_t> user_of(std::string_view status) {
  std::optional<uid_t> user;
  each_line(status, ':', [&](std::string_view name, std::string_view value) {
    if (name == "Uid") {
      if (const auto real = number(value)) {
        user = static_cast<uid_t>(*real);
      }
    }
  });
  return user;
}

template <class T>
void put(ipc::MapPacker& out, std::string_view key, const std::optional<T>& value) {
  if (!value) {
    out.null(key);
  } else if constexpr (std::is_same_v<T, bool>) {
    out.boolean(key, *value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    out.text(key, *value);
  } else {
    out.unsigned_integer(key, *value);
  }
}

}  // namespace

void read_status(std::string_view text, MeasuredSandbox& out) {
  each_line(text, ':', [&out](std::string_view name, std::string_view value) {
    if (name == "NoNewPrivs") {
      if (const auto set = number(value)) {
        out.no_new_privs = *set == 1;
      }
    } else if (name == "Seccomp") {
      out.seccomp_mode = number(value);
    } else if (name == "Seccomp_filters") {
      out.seccomp_filters = number(value);
    } else if (name == "CapEff") {
      out.capabilities = number(value, 16);
    } else if (name == "CapBnd") {
      out.capability_bounds = number(value, 16);
    } else if (name == "Threads") {
      out.threads = number(value);
    } else if (name == "VmLck") {  // "     8 kB"
      const auto kibibytes = number(value);
      out.locked_bytes = kibibytes ? std::optional(*kibibytes * 1024) : std::nullopt;
    }
  });
}

void read_limits(std::string_view text, MeasuredSandbox& out) {
  const auto limit = [text](std::string_view name) -> std::optional<std::uint64_t> {
    const std::size_t at = text.find(name);
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
    const std::string_view rest = trimmed(text.substr(at + name.size(), 40));
    return rest.starts_with("unlimited") ? std::optional(UINT64_MAX) : number(rest);
  };
  out.limit_files = limit("Max open files");
  out.limit_data_bytes = limit("Max data size");
  out.limit_core_bytes = limit("Max core file size");
  out.limit_locked_bytes = limit("Max locked memory");
}

void read_cgroup(std::string_view text, MeasuredSandbox& out) {
  // "0::/path" is the line of version 2.
  each_line(text, ':', [&out](std::string_view name, std::string_view value) {
    if (name == "0" && value.starts_with(':')) {
      out.cgroup = std::string(value.substr(1));
    }
  });
}

MeasuredSandbox measure_sandbox(pid_t pid, const std::string& proc) {
  const std::string folder = proc + "/" + std::to_string(pid);
  MeasuredSandbox out;
  const std::string status = file_contents(folder + "/status");
  read_status(status, out);
  read_limits(file_contents(folder + "/limits"), out);
  read_cgroup(file_contents(folder + "/cgroup"), out);
  struct stat owner{};
  const auto user = user_of(status);
  if (user && *user != 0 && ::stat((folder + "/limits").c_str(), &owner) == 0) {
    out.dumpable = owner.st_uid != 0;
  }
  return out;
}

std::vector<std::string> missing_walls(const MeasuredSandbox& measured) {
  constexpr std::uint64_t kFilter = 2;
  if (!measured.no_new_privs) {  // every kernel tells it to whoever may look at all
    return {"its walls could not be read (is /proc hidden from this node?)"};
  }
  std::vector<std::string> out;
  const auto demand = [&out](bool stands, const char* what) {
    if (!stands) {
      out.emplace_back(what);
    }
  };
  demand(measured.no_new_privs == true, "it may gain privileges (no_new_privs is not set)");
  demand(measured.seccomp_mode == kFilter, "no seccomp filter");
  demand(measured.capabilities == 0U, "it has capabilities");
  demand(measured.dumpable != true, "it is dumpable");
  demand(measured.limit_core_bytes == 0U, "it may leave a core");
  demand(measured.limit_files.value_or(UINT64_MAX) != UINT64_MAX, "no limit of descriptors");
  demand(measured.limit_data_bytes.value_or(UINT64_MAX) != UINT64_MAX, "no limit of memory");
  return out;
}

ByteVector pack_sandbox(const MeasuredSandbox& measured,
                        const std::optional<ipc::Sandboxed>& said) {
  ipc::MapPacker limits;
  put(limits, "files", measured.limit_files);
  put(limits, "data_bytes", measured.limit_data_bytes);
  put(limits, "core_bytes", measured.limit_core_bytes);
  put(limits, "locked_bytes", measured.limit_locked_bytes);
  ipc::ArrayPacker missing;
  for (const std::string& wall : missing_walls(measured)) {
    missing.next().text(wall);
  }
  if (said && said->landlock_refused) {
    missing.next().text("landlock is refused by the system-call filter around the node");
  }
  ipc::MapPacker out;
  put(out, "no_new_privs", measured.no_new_privs);
  put(out, "seccomp_mode", measured.seccomp_mode);
  put(out, "seccomp_filters", measured.seccomp_filters);
  put(out, "capabilities", measured.capabilities);
  put(out, "capability_bounds", measured.capability_bounds);
  put(out, "dumpable", measured.dumpable);
  put(out, "threads", measured.threads);
  put(out, "locked_bytes", measured.locked_bytes);
  put(out, "cgroup", measured.cgroup);
  put(out, "landlock_said", said ? std::optional(said->landlock) : std::nullopt);
  return out.raw("limits", limits.finish()).raw("missing", missing.finish()).finish();
}

}  // namespace cosigner::supervisor
