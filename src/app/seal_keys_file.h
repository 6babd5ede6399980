#pragma once

// The file of --seal-keys-file. Main thread only.

#include <cstddef>
#include <string>

#include "ringcast/seal_keys.h"

namespace ringcast::app {

constexpr std::size_t seal_keys_file_size_max = std::size_t{256} * 1024;

// Reads it, if nobody but its owner may write it, and nobody but he and his group may read it. Its
// owner is this user, root, or `user`, whom root is about to become (--user; empty: nobody). A
// problem is one line that begins with the flag and the file, and `keys` is empty. What was read is
// wiped.
[[nodiscard]] std::string read_seal_keys(const std::string& file,
                                         SealKeys& keys,
                                         const std::string& user = {});

}  // namespace ringcast::app
