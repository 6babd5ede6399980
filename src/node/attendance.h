#pragma once

// Who is on a topic: a plain list, kept by the topic's home.
//
// An entry is a client, not a connection: it stays as long as one subscription of that name is
// there, so two of them, or a connection and its successor, are one. Past `listed_max` entries
// clients are counted, subscription by subscription, and not listed; who is not listed stays so
// until it subscribes anew.
//
// What changed is noted only while somebody watches: of whoever came or went since it was told
// last, whether he is there now, also when that is as it was. For somebody may have asked in
// between, and must be set right. Past changes_max of them only their being too many is noted.
//
// One thread owns an Attendance.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace ringcast::node {

class Attendance {
  public:
    static constexpr std::size_t changes_max = 1000;

    struct Entry {
        std::string info = {};      // JSON text; empty: none was given
        std::uint64_t since_s = 0;  // Unix time
        std::uint32_t subscriptions = 0;
    };
    using Entries = std::map<std::string, Entry, std::less<>>;

    explicit Attendance(std::size_t listed_max) noexcept : listed_max_(listed_max) {}

    // A subscription of `client` begins. The latest info that is not empty is that of the client.
    void join(std::string_view client, std::string_view info, std::uint64_t now_s) noexcept;
    // ... and ends. Precondition: as many joins of `client` were not followed by a leave yet.
    void leave(std::string_view client) noexcept;
    // A subscription of `former` is that of `client` from now on, with this info, or what `former`
    // had if it is empty. Precondition: as for leave(former).
    void rename(std::string_view former,
                std::string_view client,
                std::string_view info,
                std::uint64_t now_s) noexcept;

    [[nodiscard]] std::size_t count() const noexcept { return entries_.size() + unlisted_; }
    [[nodiscard]] const Entries& entries() const noexcept { return entries_; }
    // Subscriptions of clients that are not listed.
    [[nodiscard]] std::size_t unlisted() const noexcept { return unlisted_; }

    // From now on, or no more, changes are noted.
    void watch(bool watched) noexcept;
    // Whether there is something to tell.
    [[nodiscard]] bool changed() const noexcept {
        return !changes_.empty() || too_many_ || count_changed_;
    }
    [[nodiscard]] bool too_many_changes() const noexcept { return too_many_; }
    // By client: whether it is there now. Empty when they are too many.
    [[nodiscard]] const std::map<std::string, bool, std::less<>>& changes() const noexcept {
        return changes_;
    }
    // They were told.
    void forget_changes() noexcept;

    // Memory, its own not counted.
    [[nodiscard]] std::size_t held_bytes() const noexcept { return held_; }

  private:
    void note(std::string_view client, bool present) noexcept;

    std::size_t listed_max_;
    Entries entries_;
    std::map<std::string, bool, std::less<>> changes_;
    std::size_t unlisted_ = 0;
    std::size_t held_ = 0;
    bool watched_ = false;
    bool count_changed_ = false;  // by those who are not listed
    bool too_many_ = false;
};

}  // namespace ringcast::node
