#pragma once
// Validators of every name that travels, and the user's subject token. All return false/nothing
// rather than explain: the caller knows which field it was.

#include <string>
#include <string_view>

namespace cosigner {

inline constexpr std::size_t kMaxNodeName = 32;
inline constexpr std::size_t kMaxUserName = 128;
inline constexpr std::size_t kMaxKeyName = 64;

/// [a-z0-9-]{1,32}
[[nodiscard]] bool valid_cluster_name(std::string_view name);
/// [a-z0-9-]{1,32}, but not "all" or "none", which subjects use.
[[nodiscard]] bool valid_node_name(std::string_view name);
/// 1..128 of [A-Za-z0-9._:@-]
[[nodiscard]] bool valid_user_name(std::string_view name);
/// 1..64 of [A-Za-z0-9._:@-]
[[nodiscard]] bool valid_key_name(std::string_view name);

/// U: lower-case base32 (RFC 4648, no padding) of the first 20 bytes of H(kUserSubject; cluster,
/// user): 32 characters. Names the user in subjects; for syntax, not for privacy.
[[nodiscard]] std::string user_subject_token(std::string_view cluster, std::string_view user);

/// Does a pattern of an initiator's policy cover `value`? "*" covers everything, "prefix*" what
/// begins so, anything else only itself.
[[nodiscard]] bool policy_matches(std::string_view pattern, std::string_view value);
/// "*", or a valid user name, or a prefix of one followed by '*'. For configuration checks.
[[nodiscard]] bool valid_user_pattern(std::string_view pattern);

}  // namespace cosigner
