#pragma once

// A log against a plain model, std::deque of the texts it holds; a second log on the same pool
// pushes it out. Each step appends, trims, drops, releases or reads; what the log gives must be the
// model's texts, and no text leaves the model before the hook could still read it. Where chance
// comes from is the caller's: a seed in unit tests, the input in a fuzzer. Broken properties are
// REQUIREs of doctest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include <doctest/doctest.h>

#include "feed/log.h"
#include "tests/feed/support.h"

namespace ringcast::test {

struct LogSettings {
    std::size_t pages = 16;
    std::size_t size_max = std::size_t{1} << 40;
};

template <typename Chance>
class LogWalk {
  public:
    LogWalk(Chance& chance, const LogSettings& settings)
        : chance_(chance),
          size_max_(settings.size_max),
          memory_(settings.pages),
          pool_(memory_.arena()),
          log_(pool_, 1, settings.size_max, {.call = &LogWalk::retire, .context = this}),
          other_(pool_, 1, std::size_t{1} << 40, {}) {}

    void step() {
        const std::uint64_t dice = chance_.below(100);
        if (dice < 40) {
            append();
        } else if (dice < 44) {
            publish(other_, random_text(chance_, 1 + chance_.below(6000)));
        } else if (dice < 46) {
            const feed::Seq needed = log_.first() + chance_.below(texts_.size() + 1);
            log_.trim(needed);
            REQUIRE(log_.first() <= needed);
        } else if (dice < 47) {
            log_.drop_all();
            REQUIRE(texts_.empty());
        } else if (dice < 48) {
            log_.release();
            REQUIRE(texts_.empty());
            REQUIRE(log_.held_bytes() == 0);
        } else if (!texts_.empty()) {
            read();
            send_newest();
        }
        REQUIRE(log_.first() == first_);
        REQUIRE(log_.next() == first_ + texts_.size());
        REQUIRE(log_.held_bytes() + other_.held_bytes() == pool_.bytes_in_use());
        // One record may need more than the limit; nothing else may stand beside it then.
        const std::size_t single = feed::SegmentPool::rounded(log_.record_size_max() + 4);
        REQUIRE(log_.held_bytes() <= std::max(size_max_, single));
        REQUIRE(memory_.unchanged());
    }

  private:
    // Reads every record once more before it goes: the hook must come before the bytes are gone.
    static void retire(void* context, feed::Seq first, feed::Seq end) noexcept {
        auto& self = *static_cast<LogWalk*>(context);
        REQUIRE(first == self.first_);
        REQUIRE(first < end);
        REQUIRE(end <= first + self.texts_.size());
        while (self.first_ < end) {
            REQUIRE(as_text(self.log_.rest_of(self.first_, 0)) == self.texts_.front());
            self.texts_.pop_front();
            self.first_++;
        }
    }

    void append() {
        std::size_t size = 1 + chance_.below(chance_.chance(1, 3) ? 5000 : 50);
        if (chance_.chance(1, 50)) size = log_.record_size_max();
        if (chance_.chance(1, 20)) static_cast<void>(log_.reserve(1 + chance_.below(9000)));
        const std::string text = random_text(chance_, size);
        const feed::Seq seq = publish(log_, text);
        texts_.push_back(text);
        REQUIRE(seq == first_ + texts_.size() - 1);
    }

    void read() {
        const feed::Seq seq = first_ + chance_.below(texts_.size());
        const auto sent = static_cast<std::uint32_t>(chance_.below(text_of(seq).size()));
        const feed::Slice slice = log_.slice_from(seq, sent);
        std::string want = text_of(seq).substr(sent);
        for (feed::Seq after = seq + 1; after < slice.end; after++)
            want += text_of(after);
        REQUIRE(as_text(slice.bytes) == want);
        REQUIRE(as_text(log_.rest_of(seq, sent)) == text_of(seq).substr(sent));

        const std::size_t taken = chance_.below(slice.bytes.size() + 1);
        feed::Log::Place expected{.seq = seq, .sent = sent + static_cast<std::uint32_t>(taken)};
        while (expected.seq < slice.end && expected.sent >= text_of(expected.seq).size()) {
            expected.sent -= static_cast<std::uint32_t>(text_of(expected.seq).size());
            expected.seq++;
        }
        const feed::Log::Place place = log_.place_after(slice, {.seq = seq, .sent = sent}, taken);
        const bool same = place.seq == expected.seq && place.sent == expected.sent;
        REQUIRE(same);
    }

    void send_newest() {
        if (!chance_.chance(1, 2)) return;
        const feed::Slice slice = log_.slice_from(log_.next() - 1, 0);
        slice.segment->by_reference = true;
        memory_.sent_by_reference(slice.bytes);
    }

    [[nodiscard]] const std::string& text_of(feed::Seq seq) const { return texts_[seq - first_]; }

    Chance& chance_;
    std::size_t size_max_;
    WatchedArena memory_;
    feed::SegmentPool pool_;
    feed::Seq first_ = 1;
    std::deque<std::string> texts_;  // of the records from first_ on
    feed::Log log_;
    feed::Log other_;
};

}  // namespace ringcast::test
