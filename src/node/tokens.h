#pragma once

// Keys of tokens on their way to the shards. What of ringcast/token.h is done here, too, needs no
// more words.

#include <string_view>

#include "node/mesh.h"

namespace ringcast::node {

// Mail of the kind `keys` to every shard, in its own name. Any thread, but one at a time.
void post_keys(Mesh& mesh, std::string_view keys) noexcept;

}  // namespace ringcast::node
