#pragma once

// What an operator should hear of his files of keys before it hurts. Main thread only.

#include <string>
#include <vector>

#include "ringcast/config.h"

namespace ringcast::app {

// A line for each private key of TLS that others than its owner may read or write. A file that
// cannot be looked at has none.
[[nodiscard]] std::vector<std::string> loose_keys(const Config& config);

// A line for each of the files that SIGHUP reads that could not be read now as it would be then: to
// be called when the process is the user of --user.
[[nodiscard]] std::vector<std::string> lost_files(const Config& config);

}  // namespace ringcast::app
