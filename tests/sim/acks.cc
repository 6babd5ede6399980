// What the server acknowledges to publishers, and what clients acknowledge to it: at once, late,
// twice, or only when it comes again; and what may come again.

#include <algorithm>
#include <functional>
#include <utility>

#include "tests/sim/client.h"
#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

constexpr std::string_view demanded = R"({"type":"data_update","ack_required":true)";
constexpr std::size_t open_max = 48;  // it would get nothing any more at 64

}  // namespace

// True: it is one that was here before, or may not be.
bool Client::is_repeat(const Reading& reading, const Envelope& envelope, std::string_view text) {
    if (!plan_.acks || reading.state != Reading::State::on || envelope.offset >= reading.next) {
        return false;
    }
    if (!text.starts_with(demanded)) return false;
    const auto found = debts_.find({reading.topic, envelope.offset});
    if (found == debts_.end()) {
        // It was sent to the session's former connection, and did not arrive there.
        if (plan_.session.empty()) return false;
        const std::string problem = world_.oracle().as_published(reading.topic, envelope);
        if (!problem.empty()) fail(problem);
        owe(reading, envelope, text);
        return true;
    }
    const Debt& debt = found->second;
    if (debt.hash != std::hash<std::string_view>()(text)) {
        fail("another record under offset " + std::to_string(envelope.offset));
    } else if (debt.settled) {
        fail("it comes again although it was acknowledged: " + std::to_string(envelope.offset));
    } else {
        acknowledge(reading, envelope);
    }
    return true;
}

// A record that came in its turn.
void Client::owe(const Reading& reading, const Envelope& envelope, std::string_view text) {
    if (!plan_.acks || !text.starts_with(demanded)) return;
    debts_.insert_or_assign({reading.topic, envelope.offset},
                            Debt{.hash = std::hash<std::string_view>()(text)});
    std::size_t open = 0;
    for (const auto& [place, debt] : debts_) {
        open += place.first == reading.topic && !debt.told ? 1 : 0;
    }
    if (calm_ || open > open_max || sure_.chance(3, 4)) acknowledge(reading, envelope);
}

// Behind the pong to what it says next, the server has heard it.
void Client::acknowledge(const Reading& reading, const Envelope& envelope) {
    if (state_ != State::open || close_sent_ || fin_sent_ || silent_since_ != never) return;
    const std::string topic = world_.oracle().topic_name(reading.topic);
    const bool all = calm_ || sure_.chance(1, 4);
    const bool by_id = !all && sure_.chance(1, 4);
    std::string text = R"({"type":"ack","topic":")" + topic + '"';
    if (by_id) text += R"(,"id":")" + std::string(envelope.id) + '"';
    if (!by_id) text += R"(,"payload":{"offset":)" + std::to_string(envelope.offset);
    if (!by_id) text += all ? R"(,"all_before":true})" : "}";
    say_frame(Op::text, text + "}");
    if (sure_.chance(1, 8)) say_frame(Op::text, text + "}");
    pongs_asked_++;
    const std::uint64_t id = next_id_++;
    say_frame(Op::text, R"({"type":"ping","id":"a)" + std::to_string(id) + "\"}");
    for (auto& [place, debt] : debts_) {
        const bool below = place.second < envelope.offset;
        const bool named = place.second == envelope.offset || (all && below);
        if (place.first != reading.topic || !named || debt.told) continue;
        debt.told = true;
        told_[id].push_back(place);
    }
}

void Client::on_pong(std::string_view id) {
    if (!id.starts_with('a')) return;
    const auto found = told_.find(number(id.substr(1)));
    if (found == told_.end()) return;
    for (const Place& place : found->second) {
        debts_[place].settled = true;
    }
    told_.erase(found);
}

// It acts no more, so it has to be done with all of it.
void Client::acknowledge_all() {
    for (const Reading& reading : readings_) {
        if (!plan_.acks || reading.state != Reading::State::on || reading.next < 2) continue;
        Envelope last;
        last.offset = reading.next - 1;
        acknowledge(reading, last);
    }
}

// What it takes along to its next connection: whatever the server may not have heard.
void Client::keep_debts(Plan& next) const {
    next.debts.clear();
    next.session = session_;
    if (plan_.who == none || session_.empty()) return;
    for (const auto& [place, debt] : debts_) {
        if (!debt.settled) next.debts[place] = {.hash = debt.hash};
    }
}

// What was acknowledged is in the log: whoever reads the topic gets it, under this offset.
void Client::on_ack(const Envelope& envelope) {
    const auto publication = static_cast<std::uint32_t>(number(envelope.id));
    if (!forget_unanswered(publication)) {
        fail("an ack of nothing: " + std::string(envelope.id));
        return;
    }
    const std::string problem =
        world_.oracle().acknowledged(publication, envelope, world_.life_of(link_));
    if (!problem.empty()) fail(problem + " (ack of N" + std::to_string(publication) + ")");
}

bool Client::forget_unanswered(std::uint64_t id) {
    const auto found = std::find(unanswered_.begin(), unanswered_.end(), id);
    if (found == unanswered_.end()) return false;
    unanswered_.erase(found);
    return true;
}

}  // namespace ringcast::sim
