#include "checker.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace ringcast::tools {

namespace {

constexpr std::size_t missing_max = 65'536;  // remembered per reader, to tell late from twice
constexpr std::size_t wrapping_max = 1'024;  // what a server may add around a payload

// The header lies right before the payload.
bool is_control(Opcode opcode) noexcept {
    return opcode == Opcode::close || opcode == Opcode::ping || opcode == Opcode::pong;
}

const std::byte* start_of(const Frame& frame) noexcept {
    return frame.payload.data() + frame.payload.size() - frame.size;
}

}  // namespace

Checker::Checker(const Options& options, Listener& listener) noexcept
    : options_(options),
      stride_((options.payload_size + (options.payload_only ? 16 : wrapping_max) + 63) & ~63UL),
      listener_(listener),
      topics_(options.topics) {
    RC_CHECK(std::has_single_bit(options.slots));
    RC_CHECK(options.payload_size >= payload_size_min);
    for (Topic& topic : topics_) {
        topic.slots.resize(options.slots);
        topic.frames.resize(options.slots * stride_);
    }
}

Checker::Slot& Checker::slot_of(Topic& topic, std::uint64_t seq) noexcept {
    return topic.slots[seq & (options_.slots - 1)];
}

std::byte* Checker::frame_of(Topic& topic, std::uint64_t seq) noexcept {
    return topic.frames.data() + (seq & (options_.slots - 1)) * stride_;
}

void Checker::join(Reader& reader) noexcept {
    RC_CHECK(reader.topic < topics_.size());
    Topic& topic = topics_[reader.topic];
    reader.next_seq = topic.next_seq;
    reader.offset = 0;
    if (!reader.slow) topic.waited_for++;
}

void Checker::leave(Reader& reader) noexcept {
    Topic& topic = topics_[reader.topic];
    if (reader.slow) return;
    RC_CHECK(topic.waited_for > 0);
    for (std::uint64_t seq = reader.next_seq; seq < topic.next_seq; seq++) {
        settle(reader, topic, seq);
    }
    topic.waited_for--;
    reader.slow = true;  // from now on nobody waits for it
}

void Checker::take_out(Reader& reader) noexcept {
    if (!out(reader)) leave(reader);
    missing_.erase(reader.id);
    reader.slow = true;  // until it joins nobody waits for it
    reader.offset = 0;
    reader.next_seq = nowhere;
}

void Checker::join_behind(Reader& reader, std::uint64_t offset) noexcept {
    RC_CHECK(reader.topic < topics_.size());
    RC_CHECK(!options_.windowed);
    if (!out(reader)) return note(counts_.corrupt, 1, reader, "subscribed twice", reader.next_seq);
    Topic& topic = topics_[reader.topic];
    if (!topic.offset_known && topic.next_seq == 0) {
        topic.offset_known = true;
        topic.offset_base = offset + 1;
    }
    const std::uint64_t first = offset + 1 - topic.offset_base;
    reader.slow = false;
    join(reader);
    // A server that counts otherwise than the one we learnt from, or knows what was never sent.
    if (first > topic.next_seq) {
        return note(counts_.corrupt, 1, reader, "subscribed at no such message", topic.next_seq);
    }
    reader.next_seq = first;
    for (std::uint64_t seq = first; seq < topic.next_seq; seq++) {
        Slot& slot = slot_of(topic, seq);
        if (slot.seq == seq) slot.waiting++;
        owed_++;
    }
}

void Checker::publish(std::uint32_t topic_index, Nanos sent_at, Bytes frame) noexcept {
    RC_CHECK(frame.size() <= stride_);
    Topic& topic = topics_[topic_index];
    const std::uint64_t seq = topic.next_seq++;
    slot_of(topic, seq) = Slot{.seq = seq,
                               .sent_at = sent_at,
                               .waiting = topic.waited_for,
                               .size = static_cast<std::uint32_t>(frame.size())};
    if (!frame.empty()) std::memcpy(frame_of(topic, seq), frame.data(), frame.size());
    owed_ += topic.waited_for;
    counts_.published++;
}

std::uint64_t Checker::next_seq(std::uint32_t topic) const noexcept {
    return topics_[topic].next_seq;
}

bool Checker::feed(Reader& reader, Bytes bytes, Nanos now) noexcept {
    Topic& topic = topics_[reader.topic];
    Parse parse = Parse::frame;
    while (!bytes.empty() && parse != Parse::bad) {
        Slot& slot = slot_of(topic, reader.next_seq);
        const bool known = slot.seq == reader.next_seq && slot.size != 0;
        if (!known || !reader.splitter.empty()) {
            parse = slow_road(reader, topic, bytes, now);
            continue;
        }
        const std::byte* want = frame_of(topic, reader.next_seq) + reader.offset;
        const std::size_t count = std::min<std::size_t>(slot.size - reader.offset, bytes.size());
        if (std::memcmp(bytes.data(), want, count) != 0) {
            parse = slow_road(reader, topic, bytes, now);
            continue;
        }
        bytes = bytes.subspan(count);
        reader.offset += static_cast<std::uint32_t>(count);
        if (reader.offset < slot.size) break;
        reader.offset = 0;
        reader.next_seq++;
        weigh(slot.size, slot.plain_size);
        if (batch_.sent_at != slot.sent_at) record(now);
        batch_ = {.sent_at = slot.sent_at, .count = batch_.count + 1, .timed = !reader.slow};
        if (!reader.slow) {
            slot.waiting--;
            owed_--;
        }
    }
    record(now);
    // The reference may be gone when the rest of this frame comes, so the start is kept here.
    if (reader.offset != 0 && (reader.slow || !options_.windowed)) keep_start(reader, topic);
    if (parse == Parse::bad) note(counts_.corrupt, 1, reader, "no frame", reader.next_seq);
    return parse != Parse::bad;
}

void Checker::record(Nanos now) noexcept {
    if (batch_.count == 0) return;
    if (batch_.timed) latency_.record(now - batch_.sent_at, batch_.count);
    counts_.delivered += batch_.count;
    counts_.bytes += batch_.count * options_.payload_size;
    batch_.count = 0;
}

Parse Checker::slow_road(Reader& reader, Topic& topic, Bytes& bytes, Nanos now) noexcept {
    record(now);
    if (reader.offset != 0) keep_start(reader, topic);
    return reader.splitter.take(
        bytes, [&](const Frame& frame) { judge(reader, frame, now); }, options_.compressed);
}

// What was compared so far is in the reference; from now on the splitter has it.
void Checker::keep_start(Reader& reader, Topic& topic) noexcept {
    RC_CHECK(slot_of(topic, reader.next_seq).seq == reader.next_seq);
    reader.splitter.keep({frame_of(topic, reader.next_seq), reader.offset});
    reader.offset = 0;
}

void Checker::judge(Reader& reader, const Frame& frame, Nanos now) noexcept {
    if (is_control(frame.opcode)) return listener_.on_other(reader, frame);
    Topic& topic = topics_[reader.topic];
    if (is_reference(reader, topic, frame)) {  // it only came in pieces
        const Slot& slot = slot_of(topic, reader.next_seq);
        weigh(slot.size, slot.plain_size);
        return accept(reader, {reader.topic, reader.next_seq, slot.sent_at}, now);
    }
    if (!frame.compressed) return judge_plain(reader, frame, frame.payload, now);
    if (!inflate_.message(frame.payload, plain_)) {
        return note(counts_.corrupt, 1, reader, "not to be inflated", reader.next_seq);
    }
    judge_plain(reader, frame, as_bytes(plain_), now);
}

// `plain`: the payload of `frame`, inflated if need be.
void Checker::judge_plain(Reader& reader, const Frame& frame, Bytes plain, Nanos now) noexcept {
    const std::string_view text = as_text(plain);
    Topic& topic = topics_[reader.topic];
    Stamp stamp;
    const Finding finding = find_payload(text, options_.payload_size, stamp);
    if (finding == Finding::none && !options_.payload_only && frame.fin &&
        frame.opcode == Opcode::text) {
        Frame other = frame;
        other.payload = plain;
        return listener_.on_other(reader, other);
    }
    const bool alone = text.size() == options_.payload_size;
    if (finding != Finding::sound || !frame.fin || frame.opcode != options_.opcode ||
        (options_.payload_only && !alone) || stamp.topic != reader.topic ||
        stamp.seq >= topic.next_seq) {
        return note(counts_.corrupt, 1, reader, "corrupt", reader.next_seq);
    }
    const Slot& slot = slot_of(topic, stamp.seq);
    if (slot.seq == stamp.seq && slot.sent_at != stamp.sent_at) {
        return note(counts_.corrupt, 1, reader, "corrupt", stamp.seq);
    }
    if (options_.envelope && !envelope_fits(topic, stamp, text)) {
        return note(counts_.corrupt, 1, reader, "corrupt", stamp.seq);
    }
    const std::size_t plain_size = frame.size - frame.payload.size() + plain.size();
    teach(topic, stamp.seq, frame, plain_size);
    weigh(frame.size, plain_size);
    accept(reader, stamp, now);
}

// The words around a sound payload: its topic, and the offset that follows from the others'.
bool Checker::envelope_fits(Topic& topic,
                            const Stamp& stamp,
                            std::string_view text) const noexcept {
    std::string_view name;
    std::uint64_t offset = 0;
    if (!json_word(text, "topic", name) || !json_number(text, "offset", offset)) return false;
    return name == options_.topic_prefix + std::to_string(stamp.topic) &&
           offset_fits(topic, stamp.seq, offset);
}

// The first offset of a topic says where our numbers lie in the server's; all others must agree.
bool Checker::offset_fits(Topic& topic, std::uint64_t seq, std::uint64_t offset) noexcept {
    if (!topic.offset_known) topic.offset_base = offset - seq;
    topic.offset_known = true;
    return topic.offset_base == offset - seq;
}

bool Checker::is_reference(const Reader& reader, Topic& topic, const Frame& frame) noexcept {
    const Slot& slot = slot_of(topic, reader.next_seq);
    return slot.seq == reader.next_seq && slot.size == frame.size &&
           std::memcmp(start_of(frame), frame_of(topic, reader.next_seq), frame.size) == 0;
}

void Checker::teach(Topic& topic,
                    std::uint64_t seq,
                    const Frame& frame,
                    std::size_t plain) noexcept {
    Slot& slot = slot_of(topic, seq);
    if (slot.seq != seq || slot.size != 0 || frame.size > stride_) return;
    std::memcpy(frame_of(topic, seq), start_of(frame), frame.size);
    slot.size = static_cast<std::uint32_t>(frame.size);
    slot.plain_size = static_cast<std::uint32_t>(plain);
}

void Checker::accept(Reader& reader, const Stamp& stamp, Nanos now) noexcept {
    if (stamp.seq < reader.next_seq) return late(reader, stamp.seq);
    if (stamp.seq > reader.next_seq) skip(reader, stamp.seq);
    batch_ = {.sent_at = stamp.sent_at, .count = 1, .timed = !reader.slow};
    record(now);
    settle(reader, topics_[reader.topic], stamp.seq);
    reader.next_seq = stamp.seq + 1;
}

// A message that was passed over comes after all, or one comes twice.
void Checker::late(Reader& reader, std::uint64_t seq) noexcept {
    const auto found = missing_.find(reader.id);
    if (found != missing_.end()) {
        std::vector<std::uint64_t>& seqs = found->second.seqs;
        const auto place = std::lower_bound(seqs.begin(), seqs.end(), seq);
        if (place != seqs.end() && *place == seq) {
            seqs.erase(place);
            counts_.lost--;
            counts_.delivered++;
            counts_.bytes += options_.payload_size;
            return note(counts_.reordered, 1, reader, "reordered", seq);
        }
    }
    note(counts_.duplicated, 1, reader, "duplicated", seq);
}

// The messages from the reader's next one up to `to` did not come before it.
void Checker::skip(Reader& reader, std::uint64_t to) noexcept {
    apply_gaps(reader);
    if (to <= reader.next_seq) return;
    Missing& missing = missing_[reader.id];
    note(counts_.lost, to - reader.next_seq, reader, "lost", reader.next_seq);
    for (std::uint64_t seq = reader.next_seq; seq < to; seq++) {
        settle(reader, topics_[reader.topic], seq);
        if (missing.seqs.size() < missing_max) missing.seqs.push_back(seq);
    }
    reader.next_seq = to;
}

void Checker::tell_start(Reader& reader, std::uint64_t offset) noexcept {
    if (!offset_fits(topics_[reader.topic], reader.next_seq, offset + 1)) {
        note(counts_.corrupt, 1, reader, "corrupt", reader.next_seq);
    }
}

void Checker::tell_gap(Reader& reader, const Gap& gap) noexcept {
    if (out(reader)) return;
    if (topics_[reader.topic].offset_known) return apply_gap(reader, gap);
    missing_[reader.id].gaps.push_back(gap);
}

void Checker::apply_gaps(Reader& reader) noexcept {
    const auto found = missing_.find(reader.id);
    if (found == missing_.end() || !topics_[reader.topic].offset_known) return;
    for (const Gap& gap : std::exchange(found->second.gaps, {})) {
        apply_gap(reader, gap);
    }
}

void Checker::apply_gap(Reader& reader, const Gap& gap) noexcept {
    Topic& topic = topics_[reader.topic];
    const std::uint64_t expected = topic.offset_base + reader.next_seq;
    const bool right = gap.from >= expected && gap.to == gap.next - 1;
    if (!right) note(counts_.corrupt, 1, reader, "wrong gap", reader.next_seq);
    // Of what was never published nothing can be missed.
    if (gap.from > gap.to || gap.to >= topic.offset_base + topic.next_seq) {
        if (right) note(counts_.corrupt, 1, reader, "wrong gap", reader.next_seq);
        return;
    }
    if (gap.from > expected) skip(reader, gap.from - topic.offset_base);
    for (; topic.offset_base + reader.next_seq <= gap.to; reader.next_seq++) {
        settle(reader, topic, reader.next_seq);
        counts_.told++;
    }
}

void Checker::settle(const Reader& reader, Topic& topic, std::uint64_t seq) noexcept {
    if (reader.slow) return;
    Slot& slot = slot_of(topic, seq);
    if (slot.seq == seq) slot.waiting--;
    owed_--;
}

std::uint64_t Checker::outstanding(std::uint32_t topic_index) noexcept {
    Topic& topic = topics_[topic_index];
    while (topic.settled < topic.next_seq) {
        const Slot& slot = slot_of(topic, topic.settled);
        if (slot.seq == topic.settled && slot.waiting != 0) break;
        topic.settled++;
    }
    return topic.next_seq - topic.settled;
}

void Checker::give_up(Reader& reader) noexcept {
    if (out(reader)) return;
    Topic& topic = topics_[reader.topic];
    apply_gaps(reader);
    if (reader.next_seq == topic.next_seq) return;
    const std::uint64_t count = topic.next_seq - reader.next_seq;
    note(counts_.lost, count, reader, "lost", reader.next_seq);
    for (std::uint64_t seq = reader.next_seq; seq < topic.next_seq; seq++) {
        settle(reader, topic, seq);
    }
    reader.next_seq = topic.next_seq;
    reader.offset = 0;
}

void Checker::note(std::uint64_t& counter,
                   std::uint64_t by,
                   const Reader& reader,
                   const char* what,
                   std::uint64_t seq) noexcept {
    counter += by;
    if (!first_offence_.empty()) return;
    char text[128];
    const int size = std::snprintf(text,
                                   sizeof text,
                                   "%s: connection %u, topic %u, message %llu",
                                   what,
                                   reader.id,
                                   reader.topic,
                                   static_cast<unsigned long long>(seq));
    first_offence_.assign(text, static_cast<std::size_t>(size));
}

void Checker::clear_figures() noexcept {
    counts_.published = 0;
    counts_.delivered = 0;
    counts_.bytes = 0;
    latency_.clear();
}

namespace {

// Where the value of "name": begins; npos if there is none.
std::size_t value_at(std::string_view text, std::string_view name) noexcept {
    const std::string key = "\"" + std::string(name) + "\"";
    const std::size_t at = text.find(key);
    if (at == text.npos) return at;
    const std::size_t colon = text.find_first_not_of(" \t\r\n", at + key.size());
    if (colon == text.npos || text[colon] != ':') return text.npos;
    return text.find_first_not_of(" \t\r\n", colon + 1);
}

}  // namespace

bool json_number(std::string_view text, std::string_view name, std::uint64_t& value) noexcept {
    const std::size_t digit = value_at(text, name);
    if (digit == text.npos) return false;
    const char* end = text.data() + text.size();
    return std::from_chars(text.data() + digit, end, value).ec == std::errc{};
}

bool json_true(std::string_view text, std::string_view name) noexcept {
    const std::size_t at = value_at(text, name);
    return at != text.npos && text.substr(at).starts_with("true");
}

bool json_word(std::string_view text, std::string_view name, std::string_view& value) noexcept {
    const std::size_t quote = value_at(text, name);
    if (quote == text.npos || text[quote] != '"') return false;
    const std::size_t end = text.find_first_of("\"\\", quote + 1);
    if (end == text.npos || text[end] != '"') return false;
    value = text.substr(quote + 1, end - quote - 1);
    return true;
}

}  // namespace ringcast::tools
