// Errors for bad arguments: one line, "<operator>: expected ..., got ...".
// std::invalid_argument arrives in Python as a ValueError.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/border.h"

namespace shiftable {

template <typename... Parts>
[[noreturn]] void reject(const char* op, const Parts&... parts) {
  std::ostringstream line;
  line << op << ": ";
  (line << ... << parts);
  throw std::invalid_argument(line.str());
}

template <typename... Parts>
void check(bool holds, const char* op, const Parts&... parts) {
  if (!holds) reject(op, parts...);
}

// "(1, 3, 8, 8)", the way Python prints a shape.
inline std::string shape_text(const std::vector<int64_t>& sizes) {
  std::ostringstream text;
  text << "(";
  for (size_t i = 0; i < sizes.size(); ++i) text << (i ? ", " : "") << sizes[i];
  text << (sizes.size() == 1 ? ",)" : ")");
  return text.str();
}

// Finds `name` in a table of (name, value) or rejects it with the known names.
template <typename Value>
Value named(const char* op, const char* what, const std::string& name,
            const std::vector<std::pair<std::string, Value>>& table) {
  std::string known;
  for (const auto& [key, value] : table) {
    if (key == name) return value;
    known += (known.empty() ? "" : ", ") + key;
  }
  reject(op, "unknown ", what, " '", name, "'; known: ", known);
}

}  // namespace shiftable
