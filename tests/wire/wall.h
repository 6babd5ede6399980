#pragma once

// Guarded memory that is mapped once and used for many pieces: each ends at the unmapped page.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "tests/support/guarded.h"

namespace ringcast::test {

class Wall {
  public:
    // A writable copy of `piece`, valid until the next call.
    MutBytes hold(Bytes piece) {
        if (guarded_ == nullptr || guarded_->bytes().size() < piece.size()) {
            const std::vector<std::byte> blank(std::max<std::size_t>(piece.size(), 64 * 1024));
            guarded_ = std::make_unique<Guarded>(blank);
        }
        const MutBytes end = guarded_->bytes().last(piece.size());
        std::copy(piece.begin(), piece.end(), end.begin());
        return end;
    }

  private:
    std::unique_ptr<Guarded> guarded_;
};

}  // namespace ringcast::test
