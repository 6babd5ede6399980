#pragma once

// Who on this shard reads which pattern.
//
// A pattern is watched at every home (node/home.h) from its first reader here to its last. A reader
// counts, and is told `subscribed`, once all homes have said that they watch: whatever is published
// after that on a new topic reaches it from the first record on. Then it asks every home which
// topics are there already. A request stands until it is answered, even when all who waited have
// left, so that no answer is mistaken for another.
//
// What a pattern holds, here and at the homes, counts as held by one of its readers (keeps), and
// goes over to another when that one leaves: so the largest clients are found when memory is short.
//
// What a reader gets is an ordinary subscription to each topic, which the hub makes
// (node/hub_patterns.cc).
//
// One thread owns a Patterns.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "feed/pattern_index.h"
#include "io/reactor.h"
#include "node/home.h"
#include "node/mesh.h"
#include "node/resume.h"
#include "node/sessions.h"
#include "wire/envelope.h"

namespace ringcast::node {

class Patterns {
  public:
    Patterns(std::uint32_t shard,
             std::uint64_t hash_seed,
             io::Reactor& reactor,
             Mesh& mesh,
             Sessions& sessions,
             Home& home) noexcept;
    Patterns(const Patterns&) = delete;
    Patterns& operator=(const Patterns&) = delete;

    // A reader more; `subscribed` with this id comes when all homes watch, perhaps at once.
    // `resume`: of each topic that comes. Preconditions: the session is open, has not got this
    // pattern, and feed::PatternIndex::fits(pattern).
    void add(io::ConnIndex conn,
             std::string_view pattern,
             std::string_view id,
             const Resume& resume) noexcept;
    // False: it has no such pattern.
    [[nodiscard]] bool remove(io::ConnIndex conn, std::string_view pattern) noexcept;
    // Takes a session out of all its patterns.
    void forget(io::ConnIndex conn) noexcept;

    [[nodiscard]] bool has(io::ConnIndex conn, std::string_view pattern) const noexcept;
    // ... by this wish, of which it was told. Each add() is another one: a list that an earlier one
    // began ends there.
    [[nodiscard]] bool counts(io::ConnIndex conn,
                              std::string_view pattern,
                              std::uint64_t wish) const noexcept;
    [[nodiscard]] std::uint32_t count_of(io::ConnIndex conn) const noexcept;
    [[nodiscard]] std::vector<std::string> of(io::ConnIndex conn) const noexcept;
    // The first pattern of this session that brings the topic, and how; empty if none does. Until
    // the next call of another kind.
    struct Cover {
        std::string_view pattern{};
        const Resume* resume = nullptr;
    };
    [[nodiscard]] Cover covering(io::ConnIndex conn, std::string_view topic) const noexcept;
    // Everybody whom a pattern brings the topic, once for each pattern. Until the next call.
    [[nodiscard]] const std::vector<io::ConnIndex>& readers_of(std::string_view topic) noexcept;

    // Asks home `shard` which topics there match, from number `from` on, for this wish.
    void ask(io::ConnIndex conn,
             std::string_view pattern,
             std::uint64_t wish,
             std::uint32_t shard,
             std::uint64_t from) noexcept;
    void on_watched(const Mail& mail) noexcept;

    // What one pattern of one client may take of memory, here and at the homes.
    [[nodiscard]] static std::uint64_t bytes_max(std::uint64_t shards,
                                                 std::uint64_t name_size_max) noexcept;

  private:
    struct Held {  // by a session
        std::uint32_t pattern = 0;
        std::uint32_t place = 0;  // in Entry::readers
        bool keeps = false;       // the pattern itself is held for this session
        std::uint64_t wish = 0;   // of this shard, never reused
        std::string id;           // of its request, until all homes watch
        Resume resume;
    };
    // In vectors that double, and a place in a table; with an id that is still to be answered.
    static constexpr std::size_t reader_bytes =
        2 * (sizeof(Held) + sizeof(io::ConnIndex)) + wire::id_size_max + 96;

    struct Entry {
        std::vector<io::ConnIndex> readers;
        std::uint32_t unanswered = 0;  // homes that have not said yet that they watch
    };
    // ... and the pattern, which takes `indexed` of each index, at every home.
    [[nodiscard]] static constexpr std::uint64_t pattern_bytes(std::uint64_t shards,
                                                               std::uint64_t indexed) noexcept {
        return 2 * sizeof(Entry) + indexed + shards * (indexed + 2 * sizeof(std::uint64_t));
    }

    [[nodiscard]] const Held* find(io::ConnIndex conn, std::string_view pattern) const noexcept;
    [[nodiscard]] Held& held_by(io::ConnIndex conn, std::uint32_t pattern) noexcept;
    void begin(io::ConnIndex conn, Held& held) noexcept;
    void take_out(io::ConnIndex conn, const Held& held) noexcept;
    [[nodiscard]] std::uint32_t bytes_of(const Held& held) const noexcept;
    void charge(io::ConnIndex conn, std::uint32_t bytes, bool more) noexcept;
    void watch(std::uint32_t pattern, bool wanted) noexcept;
    void drop_if_unused(std::uint32_t pattern) noexcept;

    std::uint32_t shard_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    Home& home_;
    feed::PatternIndex index_;
    std::vector<Entry> entries_;  // by the index's numbers
    std::unordered_map<io::ConnIndex, std::vector<Held>> held_;
    std::uint64_t next_wish_ = 1;
    std::vector<std::uint32_t> matching_;  // scratch
    std::vector<io::ConnIndex> readers_;   // scratch
};

}  // namespace ringcast::node
