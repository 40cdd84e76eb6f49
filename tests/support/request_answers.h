#pragma once
// What an answer says, for tests.

#include <variant>

#include "ipc/answer.h"

inline const cosigner::Error* error_of(const cosigner::RequestAnswer& answer) {
  return std::get_if<cosigner::Error>(&answer.content);
}
