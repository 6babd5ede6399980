#pragma once

// Lanes with keys against a model: for each lane all records ever published and the newest of each
// key, for each reader what it knows. Lanes and a log without keys share a small arena.
//
// Each step publishes, deletes a key, subscribes, leaves, or lets a reader take some bytes. A
// reader must get numbers that only rise, bytes that are right, every record while it is in the
// fresh window, and only what is the latest of its key otherwise; none that is live may be left
// out. At the head it must know the newest of every key, or have been told that it does not
// (lapped). Where chance comes from is the caller's: a seed in unit tests, the input in a fuzzer.
// Broken properties are REQUIREs of doctest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "feed/lane.h"
#include "tests/feed/support.h"

namespace ringcast::test {

struct CompactSettings {
    std::size_t pages = 64;
    std::size_t lanes = 2;
    std::size_t keys = 30;  // names that are used
    std::size_t record_max = 1500;
    feed::CompactLog::Limits limits{.keys_max = 1000, .bytes_max = 1 << 20, .tombstones_max = 8};
    bool roomy = false;  // nothing may be refused for memory, and no large records
};

struct CompactReader {
    std::size_t lane = 0;
    std::uint32_t row = 0;
    feed::Seq seq = 0;
    std::uint32_t sent = 0;
    feed::Seq from = 0;       // where it began
    feed::Seq forgotten = 0;  // what was forgotten then
    bool latest_only = false;
    bool catches_up = false;
    bool here = false;
    std::map<std::string, feed::Seq> knows;  // the newest record of each key that it got
};

// What was published on one lane.
struct KeyedModel {
    struct Record {
        std::string key;
        std::string text;
        bool tombstone = false;
    };
    std::map<feed::Seq, Record> records;      // all
    std::map<std::string, feed::Seq> newest;  // of each key, tombstones and forgotten ones too
    std::set<feed::Seq> live;                 // the newest of each key, but what is forgotten
    feed::Seq next = 1;
    feed::Seq settled = 1;  // the window began here at the earliest
    std::size_t keys = 0;   // that are not gone
    std::size_t bytes = 0;  // of their newest
    std::size_t tombstones = 0;
    std::uint64_t appended = 0;
};

template <typename Chance>
class CompactWalk {
  public:
    CompactWalk(Chance& chance, const CompactSettings& settings)
        : chance_(chance),
          settings_(settings),
          arena_(settings.pages),
          pool_(arena_.arena()),
          other_(pool_, 1, std::size_t{1} << 40, {}) {
        for (std::size_t i = 0; i < settings.lanes; i++) {
            models_.emplace_back();
            models_[i].next = models_[i].settled = 1 + chance_.below(3);
            lanes_.push_back(std::make_unique<feed::Lane>(
                pool_,
                models_[i].next,
                settings.limits,
                7,
                feed::LaneSink{.save_tail = &CompactWalk::save_tail, .context = this}));
        }
    }

    ~CompactWalk() { let_go(); }

    void step() {
        const std::uint64_t dice = chance_.below(100);
        if (!settings_.roomy && chance_.chance(1, 200)) {
            hog();
        } else if (chance_.chance(1, 20)) {
            let_go();
        } else if (dice < 40) {
            publish_some();
        } else if (dice < 43) {
            const std::size_t size = 1 + chance_.below(settings_.roomy ? 60 : 6000);
            publish(other_, random_text(chance_, std::min(size, other_.record_size_max())));
        } else if (dice < 48) {
            join();
        } else if (dice < 51) {
            leave();
        } else if (dice < 52) {
            const std::size_t number = chance_.below(lanes_.size());
            lanes_[number]->release_if_drained();
            if (lanes_[number]->behind() == 0) models_[number].settled = models_[number].next;
        } else {
            take();
        }
        check();
    }

    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    std::uint64_t skips = 0;  // slices that began behind their reader's cursor
    std::uint64_t refusals = 0;
    std::uint64_t gathered = 0;  // slices of several runs
    [[nodiscard]] std::uint64_t punched() const { return arena_.punched(); }
    [[nodiscard]] std::uint64_t copied() const { return lanes_[0]->compact().copied_bytes(); }
    [[nodiscard]] std::uint64_t appended() const { return models_[0].appended; }

  private:
    using Refusal = feed::CompactLog::Refusal;

    static void save_tail(void* context, feed::Reader reader, Bytes rest) noexcept {
        CompactWalk& walk = *static_cast<CompactWalk*>(context);
        CompactReader& at = walk.readers_[reader];
        REQUIRE(at.here);
        REQUIRE(at.sent > 0);
        const KeyedModel& model = walk.models_[at.lane];
        REQUIRE(as_text(rest) == model.records.at(at.seq).text.substr(at.sent));
        at.knows[model.records.at(at.seq).key] = at.seq;
        at.seq++;
        at.sent = 0;
        walk.tails++;
    }

    // Somebody else pins all that there is, but for a few pages: sweeps have no room.
    void hog() {
        const std::size_t most = 1 + chance_.below(pool_.pinned_size_max());
        while (feed::Segment* segment = pool_.take_pinned(1, most, 0))
            hogged_.push_back(segment);
        for (std::uint64_t count = chance_.below(3); count > 0 && !hogged_.empty(); count--) {
            pool_.give_back(*hogged_.back());
            hogged_.pop_back();
        }
    }

    void let_go() {
        for (feed::Segment* segment : hogged_)
            pool_.give_back(*segment);
        hogged_.clear();
    }

    void publish_some() {
        const std::size_t number = chance_.below(lanes_.size());
        feed::Lane& lane = *lanes_[number];
        KeyedModel& model = models_[number];
        std::string key = "k" + std::to_string(chance_.below(settings_.keys));
        if (chance_.chance(1, 40)) key.resize(feed::key_size_max, 'k');
        std::size_t size = 1 + chance_.below(60);
        if (chance_.chance(1, 4)) size = 1 + chance_.below(settings_.record_max);
        if (!settings_.roomy && chance_.chance(1, 60)) {
            size = lane.compact().record_size_max() - chance_.below(3);
        }
        const bool tombstone = chance_.chance(1, 6);
        const bool lost = chance_.chance(1, 20);
        const feed::Seq seq = chance_.chance(1, 20) ? model.next + chance_.below(5) : 0;
        if (lost) static_cast<void>(lane.reserve({.key = {}, .size = 1 + chance_.below(500)}));
        const std::string text = random_text(chance_, size);
        const feed::CompactLog::Room room =
            lane.reserve({.key = as_bytes(key), .size = size, .tombstone = tombstone, .seq = seq});
        forget(lane, model);
        if (room.refusal != Refusal::none) {
            REQUIRE(room.bytes.empty());
            check_refusal(room.refusal, model, key, size, tombstone);
            refusals++;
            return;
        }
        REQUIRE(room.bytes.size() == size);
        std::memcpy(room.bytes.data(), text.data(), size);
        REQUIRE(lane.commit() == (seq == 0 ? model.next : seq));
        model.next = seq == 0 ? model.next : seq;
        add(model, key, text, tombstone);
    }

    void add(KeyedModel& model, const std::string& key, const std::string& text, bool tombstone) {
        const auto found = model.newest.find(key);
        if (found != model.newest.end() && model.live.erase(found->second) == 1)
            uncount(model, found->second);
        model.records[model.next] = {.key = key, .text = text, .tombstone = tombstone};
        model.newest[key] = model.next;
        model.live.insert(model.next);
        model.next++;
        model.appended += text.size();
        if (tombstone) {
            model.tombstones++;
        } else {
            model.keys++;
            model.bytes += text.size();
        }
        REQUIRE(model.keys <= settings_.limits.keys_max);
        REQUIRE(model.bytes <= settings_.limits.bytes_max);
    }

    static void uncount(KeyedModel& model, feed::Seq seq) {
        const KeyedModel::Record& record = model.records.at(seq);
        if (record.tombstone) {
            model.tombstones--;
        } else {
            model.keys--;
            model.bytes -= record.text.size();
        }
    }

    // The log forgets tombstones when they are too many, the oldest first.
    void forget(const feed::Lane& lane, KeyedModel& model) {
        const std::size_t before = model.tombstones;
        for (auto at = model.live.begin(); at != model.live.end();) {
            const bool gone = model.records.at(*at).tombstone && *at <= lane.compact().forgotten();
            if (gone) uncount(model, *at);
            at = gone ? model.live.erase(at) : std::next(at);
        }
        if (before != model.tombstones) REQUIRE(before > settings_.limits.tombstones_max);
        REQUIRE(model.tombstones <= settings_.limits.tombstones_max);
        REQUIRE(model.tombstones == lane.compact().tombstones());
    }

    void check_refusal(Refusal refusal,
                       const KeyedModel& model,
                       const std::string& key,
                       std::size_t size,
                       bool tombstone) {
        const auto found = model.newest.find(key);
        const bool replaces = found != model.newest.end() && model.live.count(found->second) == 1 &&
                              !model.records.at(found->second).tombstone;
        const std::size_t before = replaces ? model.records.at(found->second).text.size() : 0;
        if (refusal == Refusal::too_many_keys) {
            const bool full = !replaces && model.keys == settings_.limits.keys_max;
            REQUIRE(full);
        } else if (refusal == Refusal::bytes_full) {
            REQUIRE(model.bytes - before + size > settings_.limits.bytes_max);
        } else {
            REQUIRE(!settings_.roomy);
        }
        const bool for_memory = refusal == Refusal::no_memory;
        REQUIRE((for_memory || !tombstone));
    }

    void join() {
        std::size_t slot = 0;
        while (slot < readers_.size() && readers_[slot].here)
            slot++;
        if (slot == 10) return;
        if (slot == readers_.size()) readers_.emplace_back();
        begin(slot, chance_.below(lanes_.size()));
    }

    void begin(std::size_t slot, std::size_t number) {
        feed::Lane& lane = *lanes_[number];
        KeyedModel& model = models_[number];
        feed::Seq from = 1;
        if (chance_.chance(1, 2)) from = model.next;
        if (chance_.chance(1, 4)) from = 1 + chance_.below(model.next);
        if (from > 1 && !lane.compact().recoverable(from)) from = 1;
        const auto reader = static_cast<feed::Reader>(slot);
        const std::uint32_t row = lane.subscribe(reader, reader + 100, from);
        REQUIRE(row + 1 == lane.size());
        if (model.records.empty()) from = model.next;
        CompactReader& at = readers_[slot];
        at = {};
        at.lane = number;
        at.row = row;
        at.seq = at.from = from;
        at.forgotten = lane.compact().forgotten();
        at.here = true;
        at.catches_up = from == 1 && from != model.next;
        at.latest_only = chance_.chance(1, 5);
        if (at.latest_only) lane.set_latest_only(row, true);
    }

    void leave() {
        if (readers_.empty()) return;
        const std::size_t slot = chance_.below(readers_.size());
        if (readers_[slot].here) leave(slot);
    }

    void leave(std::size_t slot) {
        CompactReader& at = readers_[slot];
        feed::Lane& lane = *lanes_[at.lane];
        const std::uint64_t tails_before = tails;
        const bool inside = at.sent > 0;
        lane.unsubscribe(at.row);
        REQUIRE(tails - tails_before == (inside ? 1 : 0));
        at.here = false;
        if (at.row < lane.size()) readers_[lane.row(at.row).reader].row = at.row;
    }

    void take() {
        if (readers_.empty()) return;
        const std::size_t slot = chance_.below(readers_.size());
        CompactReader& at = readers_[slot];
        if (!at.here) return;
        feed::Lane& lane = *lanes_[at.lane];
        const KeyedModel& model = models_[at.lane];
        if (lane.lapped(at.row)) {
            REQUIRE(lane.peek(at.row).bytes.empty());
            REQUIRE(at.forgotten < lane.compact().forgotten());
            laps++;
            leave(slot);
            return begin(slot, at.lane);
        }
        const feed::Slice slice = lane.peek(at.row);
        if (slice.bytes.empty()) {
            REQUIRE(at.seq == model.next);
            return;
        }
        const bool every =
            !at.latest_only && !at.catches_up && at.seq >= lane.compact().fresh_first();
        check_slice(slice, at, model, every);
        if (at.sent > 0) {
            const std::string rest = model.records.at(at.seq).text.substr(at.sent);
            REQUIRE(as_text(lane.rest_of(at.row)) == rest);
        }
        std::size_t taken = slice.bytes.size();
        if (!chance_.chance(1, 3)) taken = chance_.below(taken + 1);
        if (chance_.chance(1, 3)) taken = std::min(taken, std::size_t{1} + chance_.below(40));
        const bool by_reference = slice.segment != nullptr && chance_.chance(1, 3);
        if (by_reference) arena_.sent_by_reference(slice.bytes.first(taken));
        lane.advance(at.row, slice, taken, by_reference);
        if (taken > 0) move(at, model, slice, taken, every);
    }

    void check_slice(const feed::Slice& slice,
                     const CompactReader& at,
                     const KeyedModel& model,
                     bool every) {
        gathered += slice.segment == nullptr ? 1 : 0;
        if (slice.segment != nullptr) {
            REQUIRE(slice.file_offset == slice.bytes.data() - arena_.arena().base);
        } else {  // copied together, so not to be sent by reference
            REQUIRE(slice.file_offset == -1);
            REQUIRE(slice.latest);
        }
        REQUIRE(slice.begin >= at.seq);
        REQUIRE(slice.end <= model.next);
        if (at.sent > 0) REQUIRE(slice.begin == at.seq);
        const auto skipped =
            every ? model.records.lower_bound(at.seq)->first : *model.live.lower_bound(at.seq);
        if (at.sent == 0) REQUIRE(slice.begin == skipped);
        if (slice.begin > at.seq) skips++;
        std::string want;
        for (auto record = model.records.find(slice.begin);
             record != model.records.end() && record->first < slice.end;
             record++) {
            const bool begun = record->first == at.seq && at.sent > 0;
            if (!every && !begun && model.live.count(record->first) == 0) continue;
            want += begun ? record->second.text.substr(at.sent) : record->second.text;
        }
        REQUIRE(as_text(slice.bytes) == want);
    }

    void move(CompactReader& at,
              const KeyedModel& model,
              const feed::Slice& slice,
              std::size_t taken,
              bool every) {
        std::size_t left = taken + at.sent;
        for (auto record = model.records.find(slice.begin);
             record != model.records.end() && record->first < slice.end;
             record++) {
            const bool begun = record->first == slice.begin;
            if (!every && !begun && model.live.count(record->first) == 0) continue;
            at.seq = record->first;
            if (left < record->second.text.size()) break;
            left -= record->second.text.size();
            at.knows[record->second.key] = at.seq++;
        }
        if (taken == slice.bytes.size()) at.seq = slice.end;
        at.sent = static_cast<std::uint32_t>(left);
        at.catches_up = at.seq != model.next && !every;
        if (at.seq == model.next && !lanes_[at.lane]->lapped(at.row)) check_knows(at, model);
    }

    // It is at the head.
    static void check_knows(const CompactReader& at, const KeyedModel& model) {
        for (const auto& [key, seq] : at.knows)
            REQUIRE(model.newest.at(key) == seq);
        for (const feed::Seq seq : model.live) {
            if (seq >= at.from) REQUIRE(at.knows.at(model.records.at(seq).key) == seq);
        }
    }

    void check_memory(const feed::CompactLog& log, const KeyedModel& model) const {
        const std::size_t window = std::clamp<std::size_t>(
            settings_.limits.bytes_max / 4, feed::page_size, std::size_t{4} * 1024 * 1024);
        std::size_t need = 0;
        std::size_t fresh = 0;
        for (const feed::Seq seq : model.live)
            need += model.records.at(seq).text.size() + 16;
        for (auto record = model.records.lower_bound(log.fresh_first());
             record != model.records.end();
             record++)
            fresh += record->second.text.size() + 16;
        if (!settings_.roomy) return;
        if (log.fresh_first() > model.settled) REQUIRE(fresh >= window);
        const std::size_t most = std::max(window / 2, 2 * feed::page_size) + 2 * window;
        REQUIRE(log.held_bytes() <= 2 * need + most + 5 * feed::page_size);
    }

    void check() {
        REQUIRE(arena_.unchanged());
        std::size_t held = other_.held_bytes();
        for (const feed::Segment* segment : hogged_)
            held += segment->size;
        for (std::size_t i = 0; i < lanes_.size(); i++) {
            const feed::CompactLog& log = lanes_[i]->compact();
            const KeyedModel& model = models_[i];
            REQUIRE(log.next() == model.next);
            REQUIRE(lanes_[i]->next() == model.next);
            REQUIRE(log.keys() == model.keys);
            REQUIRE(log.live_bytes() == model.bytes);
            held += log.held_bytes();
            if (chance_.chance(1, 8)) {
                log.check();
                check_memory(log, model);
                check_state(log, model);
            }
        }
        REQUIRE(held == pool_.bytes_in_use());
        std::vector<std::uint32_t> behind(lanes_.size());
        for (std::size_t slot = 0; slot < readers_.size(); slot++) {
            const CompactReader& at = readers_[slot];
            if (!at.here) continue;
            const feed::Subscriber& row = lanes_[at.lane]->row(at.row);
            const bool whose = row.reader == slot && row.link == slot + 100;
            REQUIRE(whose);
            const bool where = row.seq == at.seq && row.sent == at.sent;
            REQUIRE(where);
            if (at.seq < models_[at.lane].next) behind[at.lane]++;
        }
        for (std::size_t i = 0; i < lanes_.size(); i++)
            REQUIRE(lanes_[i]->behind() == behind[i]);
    }

    // What a copy of the state would get.
    static void check_state(const feed::CompactLog& log, const KeyedModel& model) {
        feed::Seq seq = 1;
        for (const feed::Seq live : model.live) {
            const feed::CompactLog::Record record = log.latest_from(seq);
            REQUIRE(record.seq == live);
            REQUIRE(as_text(record.key) == model.records.at(live).key);
            REQUIRE(as_text(record.bytes) == model.records.at(live).text);
            REQUIRE(record.tombstone == model.records.at(live).tombstone);
            seq = record.seq + 1;
        }
        REQUIRE(seq == (model.live.empty() ? 1 : model.next));
    }

    Chance& chance_;
    CompactSettings settings_;
    WatchedArena arena_;
    feed::SegmentPool pool_;
    feed::Log other_;
    std::vector<feed::Segment*> hogged_;
    std::vector<std::unique_ptr<feed::Lane>> lanes_;
    std::vector<KeyedModel> models_;
    std::vector<CompactReader> readers_;
};

}  // namespace ringcast::test
