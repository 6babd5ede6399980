#include "ledger.h"

#include <algorithm>

#include "base/check.h"

namespace ringcast::tools {

namespace {

constexpr std::uint64_t unknown = UINT64_MAX;

}  // namespace

void Ledger::acknowledged(std::uint32_t topic, std::uint64_t seq, const Told& place) noexcept {
    RC_CHECK(topic < topics_.size());
    if (place.epoch != topics_[topic].epoch) return wrong(topic, "an ack from another epoch");
    learn(topic, place.offset, seq, topic);
}

void Ledger::subscribed(Place& place, const Told& told) noexcept {
    RC_CHECK(place.topic < topics_.size());
    Topic& topic = topics_[place.topic];
    if (topic.epoch == 0) {
        topic.epoch = told.epoch;
        topic.base = told.offset + 1;
        topic.head = told.offset;
    }
    const bool first = place.next == 0;
    if (told.epoch != topic.epoch || told.epoch == 0) {
        place.next = told.offset + 1;
        return wrong(place.id, "another epoch");
    }
    if (first) {
        if (told.recovered) wrong(place.id, "recovered what it never had");
        place.next = told.offset + 1;
        return;
    }
    if (!told.recovered) {
        // The gap that has to come next says what is missing; until then it is owed.
        if (told.offset + 1 < place.next) wrong(place.id, "the server knows less than before");
        return;
    }
    if (told.offset + 1 != place.next) return wrong(place.id, "recovered from somewhere else");
    counts_.recovered++;
    counts_.made_up += owed(place);
}

void Ledger::record(Place& place, std::uint64_t offset, std::uint64_t seq) noexcept {
    if (place.next == 0) return wrong(place.id, "a record before `subscribed`");
    learn(place.topic, offset, seq, place.id);
    if (offset < place.next) return note(counts_.duplicated, place.id, "duplicated");
    lose(place, offset);
    place.next = offset + 1;
    counts_.delivered++;
}

void Ledger::gap(Place& place, const Gap& gap) noexcept {
    counts_.gaps++;
    const bool sound = place.next != 0 && gap.next == gap.to + 1 && gap.from >= place.next;
    // Of what is not there nothing can be missed. (The acks may be on their way.)
    const bool there = gap.to < topics_[place.topic].base + topics_[place.topic].made;
    if (!sound || !there) return wrong(place.id, "a wrong gap");
    lose(place, gap.from);
    counts_.told += gap.next - place.next;
    place.next = gap.next;
    Topic& topic = topics_[place.topic];
    topic.head = std::max(topic.head, gap.to);
}

std::uint64_t Ledger::owed(const Place& place) const noexcept {
    const std::uint64_t end = topics_[place.topic].head + 1;
    return place.next == 0 || place.next >= end ? 0 : end - place.next;
}

void Ledger::give_up(Place& place) noexcept {
    lose(place, place.next + owed(place));
}

void Ledger::lose(Place& place, std::uint64_t to) noexcept {
    if (to <= place.next) return;
    note(counts_.lost, place.id, "lost", to - place.next);
    place.next = to;
}

// All who speak of a message or of a place must say the same.
void Ledger::learn(std::uint32_t topic_index,
                   std::uint64_t offset,
                   std::uint64_t seq,
                   std::uint32_t id) noexcept {
    Topic& topic = topics_[topic_index];
    if (seq >= topic.made || offset < topic.base) return wrong(id, "no message of ours");
    const std::uint64_t at = offset - topic.base;
    // Each offset is a message of ours, or one of them once more.
    if (at > 2 * topic.made) return wrong(id, "an offset that cannot be");
    if (topic.seqs.size() <= at) topic.seqs.resize(at + 1, unknown);
    if (topic.offsets.size() <= seq) topic.offsets.resize(seq + 1, 0);
    topic.head = std::max(topic.head, offset);
    if (topic.seqs[at] == seq) return;
    if (topic.seqs[at] != unknown) return wrong(id, "two messages under one offset");
    topic.seqs[at] = seq;
    if (topic.offsets[seq] != 0) return note(counts_.twice, id, "published twice");
    topic.offsets[seq] = offset;
}

void Ledger::note(std::uint64_t& counter,
                  std::uint32_t id,
                  std::string_view what,
                  std::uint64_t by) noexcept {
    counter += by;
    if (first_offence_.empty()) {
        first_offence_ = std::string(what) + ": connection " + std::to_string(id);
    }
}

}  // namespace ringcast::tools
