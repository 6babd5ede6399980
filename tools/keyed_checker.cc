#include "keyed_checker.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "checker.h"

namespace ringcast::tools {

namespace {

constexpr std::ptrdiff_t near_records = 1'024;
constexpr std::size_t skipped_max = 4'096;  // of one reader, before those that are safe go

// Spreads numbers evenly, so that keys and samples follow no rhythm of the publishing (splitmix64).
std::uint64_t mixed(std::uint64_t value) noexcept {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

// The bytes of a whole frame that was parsed: its payload is their end.
Bytes bytes_of(const Frame& frame) noexcept {
    const std::size_t header = frame.size - frame.payload.size();
    return {frame.payload.data() - header, frame.size};
}

}  // namespace

KeyedChecker::KeyedChecker(Options options, Listener& listener) noexcept
    : options_(std::move(options)),
      listener_(listener),
      places_(options_.readers),
      payload_(options_.payload_size, '\0'),
      last_made_(options_.keys, nobody_knows),
      latest_(options_.keys),
      ring_(options_.reference_size) {
    RC_CHECK(options_.keys > 0);
    RC_CHECK(options_.keys <= topics_max);
    RC_CHECK(options_.publishers > 0);
    RC_CHECK(!options_.raw || options_.publishers == 1);
    RC_CHECK(options_.fast <= options_.readers);
    RC_CHECK(options_.timed_one_in > 0);
    RC_CHECK(std::has_single_bit(options_.reference_size));
    for (std::uint32_t key = 0; key < options_.keys; key++) {
        key_names_.push_back("key" + std::to_string(key));
    }
}

std::uint32_t KeyedChecker::key_of(std::uint64_t seq) const noexcept {
    return static_cast<std::uint32_t>(mixed(seq) % options_.keys);
}

bool KeyedChecker::timed(std::uint64_t seq) const noexcept {
    return mixed(~seq) % options_.timed_one_in == 0;
}

std::string_view KeyedChecker::publish(Nanos sent_at) noexcept {
    const std::uint64_t seq = published_++;
    const std::uint32_t key = key_of(seq);
    last_made_[key] = seq;
    write_payload({.topic = key, .seq = seq, .sent_at = sent_at}, payload_);
    text_ = R"({"type":"publish","topic":")";
    text_.append(options_.topic).append(R"(","key":")").append(key_names_[key]);
    text_.append(R"(","payload":")").append(payload_).append(R"("})");
    return text_;
}

void KeyedChecker::join(std::uint32_t id, std::uint64_t offset) noexcept {
    Place& place = places_[id];
    if (place.joined) return wrong(id, "subscribed twice");
    if (!base_known_) {
        RC_CHECK(published_ == 0);
        base_known_ = true;
        base_ = offset;
    }
    place.joined = true;
    place.offset = offset;
    if (offset < base_ || offset > head()) wrong(id, "subscribed at no offset of the topic's");
    if (follows_others(id)) find_reference(place);
}

// What it has of other runs does not count, nor what it got before.
void KeyedChecker::restart(std::uint32_t id) noexcept {
    Place& place = places_[id];
    counts_of(id).restarts++;
    place.offset = 0;
    place.skipped.clear();
    place.follows = false;
}

std::uint32_t KeyedChecker::run_end(std::uint32_t run) const noexcept {
    return run + 1 < runs_.size() ? runs_[run + 1] : static_cast<std::uint32_t>(references_.size());
}

// A quarter: who stands there is looked after before the other three are full (keep()).
bool KeyedChecker::kept(std::uint64_t position) const noexcept {
    return begin_of(static_cast<std::uint32_t>(references_.size())) - position <= ring_.size() / 4;
}

// How many of `bytes` are those of the reference at `position`, where they all are kept.
std::size_t KeyedChecker::equal_bytes(std::uint64_t position, Bytes bytes) const noexcept {
    const std::size_t at = static_cast<std::size_t>(position) & (ring_.size() - 1);
    const std::size_t first = std::min(bytes.size(), ring_.size() - at);
    const bool same = std::memcmp(bytes.data(), &ring_[at], first) == 0 &&
                      std::memcmp(bytes.data() + first, ring_.data(), bytes.size() - first) == 0;
    if (same) return bytes.size();
    std::size_t count = 0;
    while (bytes[count] == ring_[(at + count) & (ring_.size() - 1)]) {
        count++;
    }
    return count;
}

// Takes what equals the reference off the front; returns how many bytes that is.
std::size_t KeyedChecker::follow(std::uint32_t id, Bytes bytes, Nanos now) noexcept {
    const Place& place = places_[id];
    // What does not follow right behind was conflated: that is judged on the slow road.
    const bool goes_on = place.next < references_.size() &&
                         references_[place.next].offset == std::max(place.offset, base_) + 1;
    if (!goes_on) return 0;
    const std::uint64_t end = begin_of(run_end(place.run));
    RC_CHECK(place.position <= end);
    RC_CHECK(end - begin_of(place.next) <= ring_.size());
    const auto most =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), end - place.position));
    const std::size_t equal = equal_bytes(place.position, bytes.first(most));
    move_to(id, place.position + equal, now);
    return equal;
}

void KeyedChecker::move_to(std::uint32_t id, std::uint64_t position, Nanos now) noexcept {
    Place& place = places_[id];
    place.position = position;
    const auto begin = references_.begin() + place.next;
    // Nearly always it is among the next few: do not look all over the memory.
    auto end = begin + std::min<std::ptrdiff_t>(references_.end() - begin, near_records);
    if (std::prev(end)->end <= position) end = references_.end();
    const auto next =
        std::upper_bound(begin, end, position, [](std::uint64_t at, const Reference& reference) {
            return at < reference.end;
        });
    if (next == begin) return;
    KeyedCounts& counts = counts_of(id);
    counts.delivered += static_cast<std::uint64_t>(next - begin);
    counts.bytes += std::prev(next)->end - begin_of(place.next);
    place.next = static_cast<std::uint32_t>(next - references_.begin());
    place.offset = std::prev(next)->offset;
    for (; place.sample < samples_.size(); place.sample++) {
        const Sample& sample = samples_[place.sample];
        if (sample.reference >= place.next) break;
        if (!is_slow(id)) latency_.record(now - sample.sent_at);
    }
}

// What was compared of a record that is not whole goes the slow road with the rest of it.
void KeyedChecker::leave_reference(Place& place) noexcept {
    RC_CHECK(place.begun.empty());
    place.follows = false;
    for (std::uint64_t at = begin_of(place.next); at < place.position; at++) {
        place.begun += static_cast<char>(ring_[static_cast<std::size_t>(at) & (ring_.size() - 1)]);
    }
}

// What they compare with will be written over: they cannot follow any more.
void KeyedChecker::leave_behind() noexcept {
    for (Place& place : places_) {
        if (place.follows && !kept(begin_of(place.next))) leave_reference(place);
    }
}

// Behind the record that it has, if that is there.
void KeyedChecker::find_reference(Place& place) noexcept {
    if (place.follows || place.offset < base_) return;
    std::uint32_t next = 0;
    if (place.offset > base_) {
        const std::uint64_t index = place.offset - base_ - 1;
        if (index >= known_.size() || known_[index].reference == not_there) return;
        next = known_[index].reference + 1;
    } else if (!references_.empty() && references_.front().offset != base_ + 1) {
        return;
    }
    if (!kept(begin_of(next))) return;
    place.follows = true;
    place.next = next;
    place.position = begin_of(next);
    // The run of the record before it.
    const std::uint32_t last = next == 0 ? 0 : next - 1;
    place.run = static_cast<std::uint32_t>(std::upper_bound(runs_.begin(), runs_.end(), last) -
                                           runs_.begin() - 1);
    place.sample =
        static_cast<std::uint32_t>(std::lower_bound(samples_.begin(),
                                                    samples_.end(),
                                                    next,
                                                    [](const Sample& sample, std::uint32_t at) {
                                                        return sample.reference < at;
                                                    }) -
                                   samples_.begin());
}

bool KeyedChecker::feed(std::uint32_t id, Splitter& splitter, Bytes bytes, Nanos now) noexcept {
    Place& place = places_[id];
    while (!bytes.empty()) {
        if (place.follows) {
            RC_CHECK(splitter.empty());
            bytes = bytes.subspan(follow(id, bytes, now));
            if (bytes.empty()) return true;
            leave_reference(place);
        }
        if (!place.begun.empty()) splitter.keep(as_bytes(std::exchange(place.begun, {})));
        const Parse result =
            splitter.take(bytes, [&](const Frame& frame) { judge(id, frame, now); });
        if (result == Parse::bad) {
            wrong(id, "no frame");
            return false;
        }
        if (place.joined && splitter.empty() && follows_others(id)) find_reference(place);
    }
    return true;
}

void KeyedChecker::judge(std::uint32_t id, const Frame& frame, Nanos now) noexcept {
    const std::string_view text = as_text(frame.payload);
    if (on_raw(id) && frame.opcode == Opcode::text && frame.fin) return on_payload(id, frame, now);
    const bool data =
        frame.opcode == Opcode::text && frame.fin && text.starts_with(R"({"type":"data_update")");
    if (!data) return listener_.on_other(id, frame);
    on_record(id, frame, text, now);
}

void KeyedChecker::on_record(std::uint32_t id,
                             const Frame& frame,
                             std::string_view text,
                             Nanos now) noexcept {
    const Place& place = places_[id];
    std::uint64_t offset = 0;
    std::string_view topic;
    std::string_view key;
    Stamp stamp;
    const bool ours = json_number(text, "offset", offset) && json_word(text, "topic", topic) &&
                      json_word(text, "key", key) && topic == options_.topic;
    if (!ours || !place.joined) return wrong(id, "no record of this topic");
    if (offset <= base_) return accept(id, offset);  // after a restart: of an earlier run
    const bool sound = find_payload(text, options_.payload_size, stamp) == Finding::sound &&
                       stamp.seq < published_ && stamp.topic == key_of(stamp.seq) &&
                       key == key_names_[stamp.topic];
    if (!sound) return wrong(id, "a corrupt record");
    take(id, frame, offset, stamp, now);
}

void KeyedChecker::on_payload(std::uint32_t id, const Frame& frame, Nanos now) noexcept {
    const std::string_view text = as_text(frame.payload);
    Stamp stamp;
    const bool sound =
        text.size() == options_.payload_size + 2 &&  // in quotes, as it was published
        find_payload(text, options_.payload_size, stamp) == Finding::sound &&
        stamp.seq < published_ && stamp.topic == key_of(stamp.seq);
    if (!sound || !places_[id].joined) return wrong(id, "a corrupt payload, or of another run");
    take(id, frame, stamp.seq + 1, stamp, now);
}

void KeyedChecker::take(std::uint32_t id,
                        const Frame& frame,
                        std::uint64_t offset,
                        const Stamp& stamp,
                        Nanos now) noexcept {
    if (!learn(offset, stamp.seq)) return wrong(id, "another record at the same offset");
    if (offset <= places_[id].offset) return stale(id, offset);
    accept(id, offset);
    if (follows_others(id)) keep(frame, offset, stamp);
    KeyedCounts& counts = counts_of(id);
    counts.delivered++;
    counts.bytes += frame.size;
    if (!is_slow(id) && timed(stamp.seq)) latency_.record(now - stamp.sent_at);
}

void KeyedChecker::accept(std::uint32_t id, std::uint64_t offset) noexcept {
    Place& place = places_[id];
    if (offset <= place.offset) return stale(id, offset);
    const std::uint64_t first = std::max(place.offset, base_) + 1;
    place.offset = offset;
    if (offset <= first) return;
    counts_of(id).conflated += offset - first;
    place.skipped.push_back({.first = first, .last = offset - 1});
    if (place.skipped.size() % skipped_max == 0) prune(place);
}

// One that it has, or that came before it and was left out.
void KeyedChecker::stale(std::uint32_t id, std::uint64_t offset) noexcept {
    const Place& place = places_[id];
    const bool skipped =
        std::any_of(place.skipped.begin(), place.skipped.end(), [&](const Range& range) {
            return range.first <= offset && offset <= range.last;
        });
    note(id,
         skipped ? &KeyedCounts::reordered : &KeyedCounts::duplicated,
         skipped ? "out of order" : "duplicated");
}

// Records below the oldest that is the latest of its key can be lost no more.
void KeyedChecker::prune(Place& place) noexcept {
    std::uint64_t safe = UINT64_MAX;
    for (std::uint32_t key = 0; key < options_.keys; key++) {
        if (last_made_[key] != nobody_knows) safe = std::min(safe, latest_[key]);
    }
    std::erase_if(place.skipped, [&](const Range& range) { return range.last < safe; });
}

bool KeyedChecker::learn(std::uint64_t offset, std::uint64_t seq) noexcept {
    const std::uint64_t index = offset - base_ - 1;
    if (index >= published_) return false;  // there are no more
    if (index >= known_.size()) known_.resize(index + 1);
    Known& known = known_[index];
    if (known.seq != nobody_knows) return known.seq == seq;
    known.seq = seq;
    std::uint64_t& latest = latest_[key_of(seq)];
    latest = std::max(latest, offset);
    return true;
}

// Adds a record to the reference, if it is the newest that anybody has seen.
void KeyedChecker::keep(const Frame& frame, std::uint64_t offset, const Stamp& stamp) noexcept {
    if (!references_.empty() && offset <= references_.back().offset) return;
    const auto number = static_cast<std::uint32_t>(references_.size());
    RC_CHECK(number != not_there);
    const bool goes_on = !references_.empty() && offset == references_.back().offset + 1;
    if (!goes_on && number != 0) runs_.push_back(number);
    const std::uint64_t begin = begin_of(number);
    const Bytes bytes = bytes_of(frame);
    const std::size_t half = ring_.size() / 2;
    RC_CHECK(bytes.size() <= half / 4);
    if (begin / half != (begin + bytes.size()) / half) leave_behind();
    const std::size_t at = static_cast<std::size_t>(begin) & (ring_.size() - 1);
    const std::size_t first = std::min(bytes.size(), ring_.size() - at);
    std::memcpy(&ring_[at], bytes.data(), first);
    std::memcpy(ring_.data(), bytes.data() + first, bytes.size() - first);
    references_.push_back({.end = begin + bytes.size(), .offset = offset});
    known_[offset - base_ - 1].reference = number;
    if (timed(stamp.seq)) samples_.push_back({.reference = number, .sent_at = stamp.sent_at});
}

void KeyedChecker::give_up(std::uint32_t id) noexcept {
    Place& place = places_[id];
    prune(place);
    std::uint64_t lost = 0;
    for (std::uint32_t key = 0; key < options_.keys; key++) {
        if (last_made_[key] == nobody_knows) continue;
        const std::uint64_t latest = latest_[key];
        const bool seen = latest != 0 && known_[latest - base_ - 1].seq == last_made_[key];
        const bool has =
            seen && latest <= place.offset &&
            std::none_of(place.skipped.begin(), place.skipped.end(), [&](const Range& range) {
                return range.first <= latest && latest <= range.last;
            });
        if (!has) lost++;
    }
    if (lost > 0) note(id, &KeyedCounts::lost, "lost the newest of a key", lost);
}

std::uint64_t KeyedChecker::misplaced() noexcept {
    std::vector<std::uint64_t> last(options_.publishers, nobody_knows);
    std::uint64_t count = 0;
    for (const Known& known : known_) {
        if (known.seq == nobody_knows) continue;  // everybody skipped it
        std::uint64_t& before = last[publisher_of(known.seq)];
        if (before != nobody_knows && known.seq <= before) count++;
        before = known.seq;
    }
    // The newest record of all is never left out, so who publishes too much or too little shows.
    count += published_ - std::min<std::uint64_t>(published_, known_.size());
    if (count > 0 && first_offence_.empty()) first_offence_ = "misplaced: messages of a publisher";
    return count;
}

void KeyedChecker::clear_figures() noexcept {
    for (KeyedCounts& counts : counts_) {
        counts.delivered = counts.bytes = counts.conflated = 0;
    }
    latency_.clear();
}

void KeyedChecker::note(std::uint32_t id,
                        std::uint64_t KeyedCounts::*counter,
                        std::string_view what,
                        std::uint64_t by) noexcept {
    counts_of(id).*counter += by;
    if (!first_offence_.empty()) return;
    first_offence_ = std::string(what) + ": connection " + std::to_string(id) + " behind offset " +
                     std::to_string(places_[id].offset);
}

}  // namespace ringcast::tools
