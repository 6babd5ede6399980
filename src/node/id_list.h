#pragma once

// Small numbers to look at later, each at most once however often it was added.
//
// An entry stands for the number, not for what has it: when the thing is gone and another one got
// its number, the entry serves that one. So the list never has more entries than there are numbers.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace ringcast::node {

class IdList {
  public:
    void add(std::uint32_t id) noexcept {
        if (id >= listed_.size()) listed_.resize(std::size_t{id} + 1);
        if (listed_[id]) return;
        listed_[id] = true;
        ids_.push_back(id);
    }

    // Drops every number for which `keep` says false. `keep` must not add.
    template <typename Keep>
    void keep_if(Keep&& keep) noexcept {
        std::size_t kept = 0;
        for (const std::uint32_t id : ids_) {
            RC_DCHECK(listed_[id]);
            listed_[id] = keep(id);
            if (listed_[id]) ids_[kept++] = id;
        }
        ids_.resize(kept);
    }

    [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }

  private:
    std::vector<std::uint32_t> ids_;
    std::vector<bool> listed_;  // by number
};

}  // namespace ringcast::node
