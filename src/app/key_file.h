#pragma once

// The file with the keys of tokens. Main thread only.

#include <string>

#include "ringcast/config.h"

namespace ringcast::app {

// Reads the one that the Config names into `keys`, and sees that they are good ones. Empty, or one
// line with the flag and the file, and nothing of what stands in it. A file of secrets that
// everybody may read is refused.
[[nodiscard]] std::string read_keys(const Config& config, std::string& keys);

}  // namespace ringcast::app
