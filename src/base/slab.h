#pragma once

// Objects by index, in chunks that are allocated when first touched and never move. The caller
// chooses the indexes: a shard keeps its sessions under the reactor's connection numbers.
//
// Memory: sizeof(T) and one bit an object, in chunks of about 64 KiB, plus one pointer a chunk for
// the whole range of indexes. Chunks stay until the Slab goes: reactors give out low indexes first,
// so a server that was full once can be full again without asking for memory.
//
// References stay valid until erase() of that index. One thread owns a Slab.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/check.h"

namespace ringcast {

template <typename T>
class Slab {
  public:
    // Objects in a chunk: a power of two, so that finding one is a shift and a mask.
    static constexpr std::size_t chunk_size = 64 << 10;
    static constexpr auto chunk_count = static_cast<std::uint32_t>(
        std::bit_floor(sizeof(T) < chunk_size ? chunk_size / sizeof(T) : 1));

    // Indexes are 0 to index_count_max - 1.
    explicit Slab(std::uint32_t index_count_max) noexcept
        : chunks_((std::size_t{index_count_max} + chunk_count - 1) / chunk_count) {}
    Slab(const Slab&) = delete;
    Slab& operator=(const Slab&) = delete;

    ~Slab() {
        for_each([this](std::uint32_t index, T&) { erase(index); });
    }

    // Precondition: `index` is not live.
    template <typename... Args>
    T& emplace(std::uint32_t index, Args&&... args) noexcept {
        RC_CHECK(index / chunk_count < chunks_.size());
        std::unique_ptr<Chunk>& chunk = chunks_[index / chunk_count];
        if (chunk == nullptr) chunk = std::make_unique<Chunk>();
        RC_CHECK(!chunk->is_live(index % chunk_count));
        T* object = ::new (chunk->place(index % chunk_count)) T(std::forward<Args>(args)...);
        chunk->flip(index % chunk_count);
        live_count_++;
        return *object;
    }

    // Precondition: `index` is live.
    [[nodiscard]] T& operator[](std::uint32_t index) noexcept {
        T* object = find(index);
        RC_CHECK(object != nullptr);
        return *object;
    }

    // nullptr when `index` is not live.
    [[nodiscard]] T* find(std::uint32_t index) noexcept {
        if (index / chunk_count >= chunks_.size()) return nullptr;
        Chunk* chunk = chunks_[index / chunk_count].get();
        if (chunk == nullptr || !chunk->is_live(index % chunk_count)) return nullptr;
        return chunk->object(index % chunk_count);
    }

    // Precondition: `index` is live.
    void erase(std::uint32_t index) noexcept {
        T& object = (*this)[index];
        object.~T();
        chunks_[index / chunk_count]->flip(index % chunk_count);
        live_count_--;
    }

    // Calls visit(index, object) for all that is live, in order of index. `visit` may erase and
    // emplace; what it emplaces at a higher index is visited too.
    template <typename Visit>
    void for_each(Visit visit) noexcept {
        for (std::uint32_t c = 0; c < chunks_.size(); c++) {
            if (chunks_[c] == nullptr) continue;
            for (std::uint32_t i = 0; i < chunk_count; i++) {
                Chunk& chunk = *chunks_[c];
                if (chunk.is_live(i)) visit(c * chunk_count + i, *chunk.object(i));
            }
        }
    }

    [[nodiscard]] std::uint32_t live_count() const noexcept { return live_count_; }

  private:
    struct Chunk {
        std::uint64_t live[(chunk_count + 63) / 64] = {};
        alignas(T) std::byte bytes[sizeof(T) * chunk_count];

        // Written by hand, so that make_unique does not zero the bytes: their pages stay untouched
        // until they are used.
        Chunk() noexcept {}  // NOLINT(modernize-use-equals-default, *-member-init)

        [[nodiscard]] bool is_live(std::uint32_t i) const noexcept {
            return (live[i / 64] >> (i % 64) & 1) != 0;
        }
        void flip(std::uint32_t i) noexcept { live[i / 64] ^= std::uint64_t{1} << (i % 64); }
        [[nodiscard]] void* place(std::uint32_t i) noexcept { return bytes + sizeof(T) * i; }
        [[nodiscard]] T* object(std::uint32_t i) noexcept {
            return std::launder(static_cast<T*>(place(i)));
        }
    };

    std::vector<std::unique_ptr<Chunk>> chunks_;
    std::uint32_t live_count_ = 0;
};

}  // namespace ringcast
