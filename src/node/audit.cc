#include "node/audit.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "node/inflation.h"
#include "wire/frame.h"
#include "wire/framer.h"

namespace ringcast::node {

namespace {

// Pings, and a close frame: they wait whatever the limit says.
constexpr std::size_t control_max = 512;
constexpr std::array<feed::LaneKind, 2> all_lanes{feed::LaneKind::envelope, feed::LaneKind::raw};

struct Books {
    const Config& config;
    Sessions& sessions;
    const feed::SegmentPool& pool;
    Holdings holdings;
};

void audit_row(Books& books,
               std::uint32_t topic,
               feed::LaneKind kind,
               feed::Lane& lane,
               std::uint32_t row) noexcept {
    const feed::Subscriber& at = lane.row(row);
    RC_CHECK(at.seq <= lane.next());
    Session* session = books.sessions.find(at.reader);
    RC_CHECK(session != nullptr);
    const Subscription& subscription = session->subscriptions[at.link];
    RC_CHECK(subscription.topic == topic);
    RC_CHECK(subscription.lane == kind);
    RC_CHECK(subscription.row == row);
    if (at.sent != 0) {
        const bool there = at.inside_packed || lane.keyed() || lane.log().holds(at.seq);
        RC_CHECK(there);  // else its rest is in the outbox
        RC_CHECK(session->torn == at.link);
    }
    books.holdings.rows++;
}

void audit_topic(Books& books, feed::Topic& topic) noexcept {
    const std::size_t log_max =
        std::max<std::size_t>(books.config.topic_log_max, books.pool.segment_size_max());
    for (const feed::LaneKind kind : all_lanes) {
        feed::Lane* lane = topic.lane(kind);
        if (lane == nullptr) continue;
        RC_CHECK(lane->packed_bytes() <= log_max);
        const std::size_t own = lane->held_bytes() - lane->packed_bytes();
        RC_CHECK(lane->keyed() || own <= log_max);  // pins: half of the arena
        if (lane->keyed()) lane->compact().check();
        books.holdings.log_bytes += lane->held_bytes();
        for (std::uint32_t row = 0; row < lane->size(); row++) {
            audit_row(books, topic.id(), kind, *lane, row);
        }
    }
}

// How many subscriptions of it have a row.
[[nodiscard]] std::uint64_t audit_session(Books& books, io::ConnIndex conn) noexcept {
    Session& session = books.sessions[conn];
    const Config& config = books.config;
    RC_CHECK(session.subscriptions.size() <= config.topics_per_client_max);
    const bool torn = (books.sessions.gate_of(conn) & gate::torn) != 0;
    RC_CHECK(torn == (session.torn != no_link));

    // Frames up to the limit, behind the rest of one record; an echo is not kept back.
    const std::size_t echo = config.dev ? config.message_max + wire::header_size_max : 0;
    const std::size_t waiting_max = config.outbox_max + feed::Log::record_size_max(books.pool) +
                                    echo + control_max + outbox_slack;
    RC_CHECK(session.outbox.pending().size() <= waiting_max);
    RC_CHECK(session.outbox.held_bytes() <= 2 * (waiting_max + 64));
    books.holdings.outbox_bytes += session.outbox.held_bytes();
    const std::uint64_t message_max =
        session.deflate.agreed ? compressed_size_max(config.message_max) : config.message_max;
    RC_CHECK(session.framer.held_bytes() <=
             message_max + wire::control_payload_max + wire::payload_padding);
    books.holdings.message_bytes += session.framer.held_bytes();

    std::uint64_t rows = 0;
    for (std::uint32_t link = 0; link < session.subscriptions.size(); link++) {
        if (session.subscriptions[link].row != no_row) rows++;
    }
    return rows;
}

}  // namespace

Holdings audit(const Config& config,
               Sessions& sessions,
               feed::TopicTable& topics,
               const feed::SegmentPool& pool,
               std::uint32_t capacity) noexcept {
    Books books{.config = config, .sessions = sessions, .pool = pool, .holdings = {}};
    for (std::uint32_t id = 0; id < topics.id_end(); id++) {
        feed::Topic* topic = topics.get(id);
        if (topic != nullptr) audit_topic(books, *topic);
    }
    pool.check();
    RC_CHECK(books.holdings.log_bytes == pool.bytes_in_use());

    std::uint64_t rows = 0;
    std::uint32_t count = 0;
    for (io::ConnIndex conn = 0; conn < capacity; conn++) {
        if (sessions.find(conn) == nullptr) continue;
        count++;
        rows += audit_session(books, conn);
    }
    RC_CHECK(rows == books.holdings.rows);
    RC_CHECK(count == sessions.count());
    const std::uint64_t counted = sessions.held_bytes();
    for (io::ConnIndex conn = 0; conn < capacity; conn++) {
        if (sessions.find(conn) != nullptr) sessions.recount(conn);
    }
    RC_CHECK(sessions.held_bytes() <= counted);  // growth was counted when it came
    RC_CHECK(sessions.held_bytes() >=
             books.holdings.outbox_bytes + books.holdings.message_bytes + rows);
    return books.holdings;
}

}  // namespace ringcast::node
