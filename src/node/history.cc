#include "node/history.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
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
    RC_CHECK(lane->log().next() == topic->next);

    answer.first = lane->recoverable_from();
    std::vector<Bytes> records;
    std::size_t size = 0;
    feed::Seq at = std::max(wish.from, answer.first);
    for (; at < answer.next && records.size() < wish.limit; at++) {
        const Bytes text = text_of(lane->log().rest_of(at, 0));
        if (size + text.size() > history_size_max) break;
        size += text.size() + 1;
        records.push_back(text);
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
