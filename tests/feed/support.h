#pragma once

// What the tests of this room share: texts by chance, records to publish, and an arena that
// behaves like the kernel at its worst. Everything read from it that was punched or never written
// is a marker byte, and whatever was sent by reference is watched: if one of its bytes changes
// before it is punched, a peer would have been sent garbage.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "feed/pool.h"

namespace ringcast::test {

template <typename Chance>
std::string random_text(Chance& chance, std::size_t size) {
    std::string text(size, '\0');
    const std::uint64_t salt = chance.next();
    for (std::size_t i = 0; i < size; i++)
        text[i] = static_cast<char>('a' + (salt + i * 7 + (i >> 5) * (salt & 15)) % 26);
    return text;
}

class WatchedArena {
  public:
    explicit WatchedArena(std::size_t pages)
        : size_(pages * feed::page_size),
          memory_(static_cast<std::byte*>(std::aligned_alloc(feed::page_size, size_))) {
        std::memset(memory_.get(), marker, size_);
    }

    [[nodiscard]] feed::Arena arena() {
        return {
            .base = memory_.get(), .size = size_, .punch = &WatchedArena::punch, .context = this};
    }

    // These bytes are in a socket queue now.
    void sent_by_reference(Bytes bytes) {
        if (!bytes.empty()) sent_.emplace_back(bytes.data(), as_text(bytes));
    }
    // What waits in socket queues is still what was sent.
    [[nodiscard]] bool unchanged() const {
        for (const auto& [place, text] : sent_) {
            if (std::memcmp(place, text.data(), text.size()) != 0) return false;
        }
        return true;
    }
    [[nodiscard]] std::uint64_t punched() const { return punched_; }

  private:
    static constexpr int marker = 0xdb;  // no record of a test contains it
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };

    static void punch(void* context, std::size_t offset, std::size_t size) noexcept {
        auto& self = *static_cast<WatchedArena*>(context);
        const std::byte* begin = self.memory_.get() + offset;
        std::erase_if(self.sent_, [&](const auto& sent) {
            return sent.first >= begin && sent.first + sent.second.size() <= begin + size;
        });
        std::memset(self.memory_.get() + offset, marker, size);
        self.punched_++;
    }

    std::size_t size_;
    std::unique_ptr<std::byte, Free> memory_;
    std::vector<std::pair<const std::byte*, std::string>> sent_;
    std::uint64_t punched_ = 0;
};

// Publishes `text` on a Log or a Lane.
template <typename Target>
feed::Seq publish(Target& target, std::string_view text) {
    const MutBytes room = target.reserve(text.size());
    REQUIRE(room.size() == text.size());
    std::memcpy(room.data(), text.data(), text.size());
    return target.commit();
}

}  // namespace ringcast::test
