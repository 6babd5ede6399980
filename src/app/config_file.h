#pragma once

// The configuration file: TOML 1.0, every flag under its name at the top, rules for topics as
// [[topic]] tables. Main thread only.
//
//   listen = ["0.0.0.0:80", "[::]:80"]
//   ping-interval = "20s"
//   connections-max = 50000
//
//   [[topic]]
//   pattern = "prices.*"
//   history = 1000
//
// A count is an integer; a time a string, since it has a unit; a size either (an integer is bytes).

#include <string>
#include <string_view>

#include "ringcast/config.h"

namespace ringcast::app {

constexpr std::size_t config_file_size_max = 1 << 20;

// What `text` says goes into `config`, which holds the defaults. Returns one line about the first
// thing that is wrong, "FILE:LINE: KEY: ..." or the parser's words in place of the key; empty when
// the file is good: then check(config) is, too. What was set after a problem does not matter.
[[nodiscard]] std::string read_config_text(std::string_view text,
                                           const std::string& file,
                                           Config& config);

// The same for a file on disk, of 1 MiB at most.
[[nodiscard]] std::string read_config_file(const std::string& file, Config& config);

}  // namespace ringcast::app
