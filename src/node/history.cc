#include "node/history.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/plant.h"
#include "node/replies.h"
#include "wire/frame.h"

namespace ringcast::node {

namespace {

// The text of an envelope record, without the header of its frame.
[[nodiscard]] Bytes text_of(Bytes record) noexcept {
    wire::FrameHeader header;
    const bool whole = wire::decode_header(record, header);
    RC_CHECK(whole);
    RC_CHECK(header.size + header.payload_size == record.size());
    return record.subspan(header.size);
}

struct Kept {
    feed::Seq seq = 0;
    Bytes record;
};

// The first record from `at` on; with keys, the first that is the latest of its key. There is one.
[[nodiscard]] Kept next_kept(const feed::Lane& lane, feed::Seq at) noexcept {
    if (!lane.keyed()) return {.seq = at, .record = lane.log().rest_of(at, 0)};
    const feed::CompactLog::Record record = lane.compact().latest_from(at);
    return {.seq = record.seq, .record = record.bytes};
}

// The first record that is kept; the next one if there is none.
[[nodiscard]] feed::Seq first_kept(const feed::Lane& lane) noexcept {
    if (!lane.keyed()) return lane.recoverable_from();
    return lane.compact().empty() ? lane.next() : lane.compact().latest_from(1).seq;
}

}  // namespace

Parcel history_frame(const feed::Topic* topic,
                     const HistoryWish& wish,
                     std::int64_t wall_ns) noexcept {
    wire::History answer{
        .id = wish.id, .wall_ns = wall_ns, .topic = wish.topic, .first = 1, .next = 1};
    if (topic == nullptr) return frame_of(answer);
    answer.epoch = topic->epoch;
    answer.first = answer.next = topic->next;
    const feed::Lane* lane = topic->lane(feed::LaneKind::envelope);
    if (lane == nullptr) return frame_of(answer);
    RC_CHECK(lane->next() == topic->next);

    answer.first = first_kept(*lane) + (RC_PLANT(36) && lane->size() > 1 ? 1 : 0);
    std::vector<Bytes> records;
    std::size_t size = 0;
    feed::Seq at = std::max(wish.from, answer.first);
    while (at < answer.next && records.size() < wish.limit) {
        const Kept kept = next_kept(*lane, at);
        const Bytes text = text_of(kept.record);
        if (size + text.size() > history_size_max) break;
        size += text.size() + 1;
        records.push_back(text);
        at = kept.seq + (RC_PLANT(35) ? 2 : 1);
    }
    answer.more = at < answer.next;
    if (answer.more && records.empty()) {
        return frame_of(wire::ErrorReply{.id = wish.id,
                                         .wall_ns = wall_ns,
                                         .topic = wish.topic,
                                         .code = "too_large",
                                         .message = "the first record is larger than an answer "
                                                    "may be: subscribe with its offset"});
    }
    answer.records = records;
    return frame_of(answer);
}

}  // namespace ringcast::node
