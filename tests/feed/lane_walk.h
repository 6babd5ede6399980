#pragma once

// Lanes against a model: for each lane all texts ever published, for each reader its place and
// whether it is owed anything. Several lanes share a small arena, so that they push each other out.
//
// Each step publishes, subscribes, leaves, or lets a reader take some bytes; the lane must show
// every reader exactly the bytes the model says, and may only move on by a tail that it saved or a
// gap that it shows (lapped). Where chance comes from is the caller's: a seed in unit tests, the
// input in a fuzzer. Broken properties are REQUIREs of doctest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "feed/lane.h"
#include "tests/feed/support.h"

namespace ringcast::test {

struct LaneReader {
    std::size_t lane = 0;
    std::uint32_t row = 0;
    feed::Seq seq = 0;
    std::uint32_t sent = 0;
    bool here = false;
    bool packed = false;         // wants the packed form
    bool inside_packed = false;  // of which it had `sent` bytes
};

struct LaneSettings {
    std::size_t pages = 16;
    std::size_t lanes = 3;
    std::size_t size_max = std::size_t{1} << 30;
    std::size_t record_max = 3000;
    std::uint64_t by_reference_one_in = 3;
    bool history = false;
    bool may_lose = true;
    bool packed = false;  // half of the readers want the packed form
};

template <typename Chance>
class LaneWalk {
  public:
    LaneWalk(Chance& chance, const LaneSettings& settings)
        : chance_(chance), settings_(settings), arena_(settings.pages), pool_(arena_.arena()) {
        for (std::size_t i = 0; i < settings.lanes; i++) {
            const feed::Seq next = 1 + chance_.below(3);
            lanes_.push_back(std::make_unique<feed::Lane>(
                pool_,
                next,
                settings.size_max,
                feed::LaneSink{.save_tail = &LaneWalk::save_tail, .context = this}));
            histories_.push_back(
                {.records = settings.history ? 1 + chance_.below(2000) : 0,
                 .bytes = feed::page_size * (1 + chance_.below(2 * settings.pages))});
            lanes_.back()->keep_history(histories_.back());
            texts_.emplace_back(next);  // texts_[lane][seq]
            firsts_.push_back(next);
        }
    }

    void step() {
        const std::uint64_t dice = chance_.below(100);
        if (dice < 25) {
            publish_some();
        } else if (dice < 32) {
            join();
        } else if (dice < 35) {
            leave();
        } else if (dice < 36) {
            lanes_[chance_.below(lanes_.size())]->release_if_drained();
        } else if (dice < 37) {
            forget_some();
        } else {
            take();
        }
        check();
    }

    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    std::uint64_t packed_slices = 0;
    std::uint64_t plain_slices = 0;  // for those who would rather have had the packed form
    [[nodiscard]] std::uint64_t punched() const { return arena_.punched(); }
    [[nodiscard]] std::uint64_t evictions() const { return pool_.evictions(); }

  private:
    static void save_tail(void* context, feed::Reader reader, Bytes rest) noexcept {
        LaneWalk& walk = *static_cast<LaneWalk*>(context);
        LaneReader& at = walk.readers_[reader];
        REQUIRE(at.here);
        REQUIRE(at.sent > 0);
        REQUIRE(as_text(rest) == walk.form(at, at.seq, at.inside_packed).substr(at.sent));
        at.seq++;
        at.sent = 0;
        at.inside_packed = false;
        walk.tails++;
    }

    void publish_some() {
        const std::size_t lane = chance_.below(lanes_.size());
        std::size_t size = 1 + chance_.below(60);
        if (chance_.chance(1, 4)) size = 1 + chance_.below(settings_.record_max);
        if (chance_.chance(1, 60)) size = lanes_[lane]->log().record_size_max() - chance_.below(3);
        if (!settings_.may_lose) size = 1 + chance_.below(60);
        const std::string text = random_text(chance_, size);
        texts_[lane].push_back(text);
        REQUIRE(publish(*lanes_[lane], text) == texts_[lane].size() - 1);
        if (lanes_[lane]->packs()) lanes_[lane]->append_packed(as_bytes(packed(text)));
    }

    // Any other bytes do; most are fewer.
    static std::string packed(const std::string& text) {
        std::string other = text.substr(0, text.size() / 3) + "#";
        if (text[0] % 5 == 0) other = text;
        return other;
    }
    [[nodiscard]] std::string form(const LaneReader& at, feed::Seq seq, bool is_packed) const {
        const std::string& text = texts_[at.lane][seq];
        return is_packed ? packed(text) : text;
    }

    void join() {
        std::size_t slot = 0;
        while (slot < readers_.size() && readers_[slot].here)
            slot++;
        if (slot == 12) return;
        if (slot == readers_.size()) readers_.emplace_back();
        const std::size_t number = chance_.below(lanes_.size());
        feed::Lane& lane = *lanes_[number];
        const feed::Seq from =
            lane.log().first() + chance_.below(lane.log().next() - lane.log().first() + 1);
        const auto reader = static_cast<feed::Reader>(slot);
        const std::uint32_t row = lane.subscribe(reader, reader + 100, from);
        REQUIRE(row + 1 == lane.size());
        readers_[slot] = {.lane = number, .row = row, .seq = from, .here = true};
        if (!settings_.packed || chance_.chance(1, 2)) return;
        readers_[slot].packed = true;
        lane.read_packed(row, settings_.size_max);
    }

    // What is older may not be come back to, but whoever is behind keeps what it wants.
    void forget_some() {
        feed::Lane& lane = *lanes_[chance_.below(lanes_.size())];
        const feed::Seq from = lane.recoverable_from();
        const feed::Seq before = from + chance_.below(lane.log().next() - from + 1);
        lane.forget_before(before);
        const bool history = histories_.front().records != 0;
        REQUIRE((!history || lane.recoverable_from() >= before));
    }

    void leave() {
        if (readers_.empty()) return;
        LaneReader& at = readers_[chance_.below(readers_.size())];
        if (!at.here) return;
        feed::Lane& lane = *lanes_[at.lane];
        const std::uint64_t tails_before = tails;
        const bool inside = at.sent > 0;
        lane.unsubscribe(at.row);
        REQUIRE(tails - tails_before == (inside ? 1 : 0));
        at.here = false;
        REQUIRE(lane.packs() ==
                std::any_of(readers_.begin(), readers_.end(), [&](const auto& each) {
                    return each.here && each.packed && each.lane == at.lane;
                }));
        if (at.row < lane.size()) readers_[lane.row(at.row).reader].row = at.row;
    }

    void take() {
        if (readers_.empty()) return;
        LaneReader& at = readers_[chance_.below(readers_.size())];
        if (!at.here) return;
        feed::Lane& lane = *lanes_[at.lane];
        if (lane.lapped(at.row)) {
            REQUIRE(lane.peek(at.row).bytes.empty());
            laps++;
            at.seq = chance_.chance(1, 2) ? lane.log().first() : lane.log().next();
            lane.skip_to(at.row, at.seq);
        }
        const feed::Slice slice = lane.peek(at.row);
        if (slice.bytes.empty()) {
            REQUIRE(at.seq == lane.log().next());
            return;
        }
        REQUIRE((at.packed || !slice.packed));
        if (at.sent != 0) REQUIRE(slice.packed == at.inside_packed);
        std::string want = form(at, at.seq, slice.packed).substr(at.sent);
        for (feed::Seq seq = at.seq + 1; seq < slice.end; seq++)
            want += form(at, seq, slice.packed);
        if (slice.packed) packed_slices++;
        if (at.packed && !slice.packed) plain_slices++;
        REQUIRE(as_text(slice.bytes) == want);
        REQUIRE(slice.file_offset == slice.bytes.data() - arena_.arena().base);

        std::size_t taken = slice.bytes.size();
        if (!chance_.chance(1, 3)) taken = chance_.below(taken + 1);
        if (chance_.chance(1, 3)) taken = std::min(taken, std::size_t{1} + chance_.below(40));
        const bool by_reference = chance_.chance(1, settings_.by_reference_one_in);
        if (by_reference) arena_.sent_by_reference(slice.bytes.first(taken));
        lane.advance(at.row, slice, taken, by_reference);
        std::size_t left = at.sent + taken;
        while (at.seq < slice.end && left >= form(at, at.seq, slice.packed).size()) {
            left -= form(at, at.seq, slice.packed).size();
            at.seq++;
        }
        at.sent = static_cast<std::uint32_t>(left);
        at.inside_packed = slice.packed && left != 0;
    }

    void check() {
        REQUIRE(arena_.unchanged());
        std::vector<std::uint32_t> behind(lanes_.size());
        for (std::size_t i = 0; i < lanes_.size(); i++) {
            const feed::Log& log = lanes_[i]->log();
            REQUIRE(log.next() == texts_[i].size());
            const bool forward = firsts_[i] <= log.first() && log.first() <= log.next();
            REQUIRE(forward);
            firsts_[i] = log.first();
            const std::size_t single = feed::SegmentPool::rounded(log.record_size_max() + 4);
            REQUIRE(log.held_bytes() <= std::max(settings_.size_max, single));
            const feed::Seq from = lanes_[i]->recoverable_from();
            const bool within = log.first() <= from && from <= log.next();
            REQUIRE(within);
            if (histories_[i].records != 0) REQUIRE(log.next() - from <= histories_[i].records);
        }
        for (std::size_t slot = 0; slot < readers_.size(); slot++) {
            const LaneReader& at = readers_[slot];
            if (!at.here) continue;
            const feed::Lane& lane = *lanes_[at.lane];
            const feed::Subscriber& row = lane.row(at.row);
            const bool whose = row.reader == slot && row.link == slot + 100;
            REQUIRE(whose);
            const bool where = row.seq == at.seq && row.sent == at.sent;
            REQUIRE(where);
            REQUIRE(row.inside_packed == at.inside_packed);
            const bool lapped = lane.lapped(at.row);
            const bool gone = at.seq < lane.log().first();
            // The packed form may be there for longer.
            if (gone && at.packed) {
                REQUIRE(lapped == lane.peek(at.row).bytes.empty());
            } else {
                REQUIRE(lapped == gone);
            }
            const bool may_be_lapped = at.sent == 0 && settings_.may_lose;
            REQUIRE((!lapped || may_be_lapped));
            if (at.seq < lane.log().next()) behind[at.lane]++;
        }
        for (std::size_t i = 0; i < lanes_.size(); i++)
            REQUIRE(lanes_[i]->behind() == behind[i]);
    }

    Chance& chance_;
    LaneSettings settings_;
    WatchedArena arena_;
    feed::SegmentPool pool_;
    std::vector<std::unique_ptr<feed::Lane>> lanes_;
    std::vector<std::vector<std::string>> texts_;
    std::vector<feed::Lane::History> histories_;
    std::vector<feed::Seq> firsts_;
    std::vector<LaneReader> readers_;
};

}  // namespace ringcast::test
