// What an answer of `history` must be: whole envelopes as they were sent, without a hole, from
// where it was asked to, and all that is kept.

#include <algorithm>

#include "tests/sim/oracle.h"

namespace ringcast::sim {

namespace {

constexpr std::uint64_t limit_default = 100;
constexpr std::size_t answer_size_max = std::size_t{256} * 1024;

}  // namespace

void Oracle::note_head(HistoryWish& wish) const {
    const std::vector<Epoch>& epochs = topics_[wish.topic].epochs;
    if (epochs.empty()) return;
    wish.epoch = static_cast<std::uint32_t>(epochs.size() - 1);
    wish.unseen = epochs.back().order.size();
}

// With keys: whether a record below `end` is a later one of the same key.
bool Oracle::superseded(const Epoch& epoch, std::uint64_t offset, std::uint64_t end) const {
    const std::uint8_t key = publications_[epoch.order[offset]].key;
    for (std::uint64_t later = offset + 1; later < std::min(end, epoch.order.size()); later++) {
        const std::uint32_t what = epoch.order[later];
        if (what != none && publications_[what].key == key) return true;
    }
    return false;
}

std::string Oracle::history(const HistoryWish& wish,
                            std::string_view payload,
                            std::uint64_t kept,
                            std::uint64_t kept_most) {
    const std::string_view name = member(payload, "epoch");
    const std::uint64_t first = number(member(payload, "first"));
    const std::uint64_t next = number(member(payload, "next"));
    const bool more = member(payload, "more") == "true";
    std::vector<std::string_view> records;
    if (!elements(member(payload, "records"), records)) return "no list of records";
    if (name.size() != 16 || first == 0 || first > next) return "an answer that does not add up";
    if (name == "0000000000000000") {
        const bool known = wish.topic < durable_ && wish.unseen != 0;
        if (known) return "a durable topic is forgotten";
        return next == 1 && records.empty() && !more ? "" : "records of a topic without an epoch";
    }
    if (wish.topic == none) return "a topic of which nobody heard";
    const std::uint32_t epoch = epoch_number(wish.topic, name, wish.life);
    if (epoch == none) return "a durable topic has another epoch";
    if (epoch == wish.epoch && next < wish.unseen) return "older than what was seen before";
    if (!keyed_ && kept_most != 0 && next - first > kept_most) return "more than may be kept";
    if (!keyed_ && kept != 0 && first != next - std::min(kept, next - 1)) return "not all is kept";

    const std::uint64_t limit = wish.limit == 0 ? limit_default : wish.limit;
    if (records.size() > limit) return "more records than were asked for";
    std::uint64_t at = std::max(wish.from, first);
    std::size_t size = 0;
    for (const std::string_view text : records) {
        const Envelope update = read_envelope(text);
        if (!update.valid || update.type != "data_update") return "not a record";
        if (update.topic != topics_[wish.topic].name) return "a record of another topic";
        if (keyed_ ? update.offset < at : update.offset != at) {
            return "record " + std::to_string(update.offset) + " instead of " + std::to_string(at);
        }
        std::uint32_t publication = none;
        std::string problem = look_at(wish.topic, update, publication);
        if (problem.empty()) problem = place(publication, epoch, update.offset);
        if (!problem.empty()) return problem;
        at = update.offset + 1;
        size += text.size() + 1;
        checked++;
    }
    if (more != (at < next)) return "`more` says what is not so";
    const bool full = records.size() == limit || size + 8192 > answer_size_max;
    if (more && !full) return "fewer records than were asked for";
    if (!keyed_ || epoch != wish.epoch) return {};
    const Epoch& known = topics_[wish.topic].epochs[epoch];
    for (const std::string_view text : records) {
        // Of what was there before anybody asked.
        const std::uint64_t offset = read_envelope(text).offset;
        if (superseded(known, offset, wish.unseen)) return "not the latest of its key";
    }
    return {};
}

}  // namespace ringcast::sim
