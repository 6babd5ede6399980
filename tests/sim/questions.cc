// What a client asks, and what it makes of the answers: history, and who is there.

#include <algorithm>
#include <array>
#include <utility>

#include "tests/sim/client.h"
#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

constexpr std::size_t questions_max = 3;  // under way
// Updates of presence come once a second; a timer may be a tick early.
constexpr Nanos update_interval = 950 * nanos_per_ms;

struct HistoryLie {
    std::string_view payload;
    const char* error;
};

constexpr std::array<HistoryLie, 6> history_lies{{
    {R"({"from":0})", "bad_payload"},
    {R"({"limit":0})", "bad_payload"},
    {R"({"limit":1001})", "bad_payload"},
    {R"({"from":"1"})", "bad_payload"},
    {R"({"from":1,"limit":-1})", "bad_payload"},
    {R"({"from":1.5})", "bad_payload"},
}};

}  // namespace

void Client::ask_question() {
    if (plan_.raw || out_.size() > 4096 || questions_.size() >= questions_max) return;
    if (curious_.chance(2, 3)) {
        ask_history();
    } else {
        const std::uint64_t known = world_.oracle().topic_count();
        const std::uint64_t topic = curious_.below(known + 1);  // the last one is nobody's
        ask_presence(topic == known ? none : static_cast<std::uint32_t>(topic));
    }
}

void Client::ask_history() {
    Oracle& oracle = world_.oracle();
    Question question{.id = next_id_++};
    HistoryWish& wish = question.wish;
    wish.life = world_.life_of(link_);
    if (!curious_.chance(1, 16)) {
        wish.topic = static_cast<std::uint32_t>(curious_.below(oracle.topic_count()));
        oracle.note_head(wish);
    }
    std::string text = R"({"type":"history","id":")" + std::to_string(question.id) +
                       R"(","topic":")" +
                       (wish.topic == none ? "nobody" : oracle.topic_name(wish.topic)) + '"';
    if (curious_.chance(1, 16)) {
        const HistoryLie& lie = history_lies[curious_.below(history_lies.size())];
        question.error = lie.error;
        text += R"(,"payload":)" + std::string(lie.payload);
    } else {
        std::string payload;
        if (curious_.chance(2, 3)) {
            const std::uint64_t head = wish.unseen + 2;
            const std::uint64_t back = curious_.below(curious_.chance(1, 2) ? 20 : head);
            wish.from = std::max<std::uint64_t>(1, head - std::min(head, back));
            payload = R"("from":)" + std::to_string(wish.from);
        }
        if (curious_.chance(2, 3)) {
            wish.limit = curious_.between(1, curious_.chance(1, 4) ? 1000 : 20);
            payload += (payload.empty() ? "" : ",") + (R"("limit":)" + std::to_string(wish.limit));
        }
        if (!payload.empty()) text += R"(,"payload":{)" + payload + "}";
    }
    questions_.push_back(question);
    say_frame(Op::text, text + "}");
}

void Client::ask_presence(std::uint32_t topic) {
    if (plan_.raw || state_ != State::open || close_sent_ || fin_sent_) return;
    Question question{.id = next_id_++, .presence = true};
    question.wish.topic = topic;
    for (std::size_t i = 0; i < readings_.size(); i++) {
        const bool is_on =
            readings_[i].state == Reading::State::on && readings_[i].expected.empty();
        if (readings_[i].topic == topic && is_on) question.subscription = watches_[i].subscription;
    }
    questions_.push_back(question);
    say_frame(Op::text,
              R"({"type":"presence","id":")" + std::to_string(question.id) + R"(","topic":")" +
                  (topic == none ? "nobody" : world_.oracle().topic_name(topic)) + "\"}");
}

// True: it was a question that was refused, and might be.
bool Client::on_refused(std::uint64_t id, std::string_view code) {
    const auto found = std::find_if(
        questions_.begin(), questions_.end(), [&](const Question& at) { return at.id == id; });
    if (found == questions_.end()) return false;
    const bool limited = code == "rate_limited" && world_.options().config.messages_per_second != 0;
    const bool busy = code == "busy" && plan_.kind == Kind::flooder;
    const bool right = found->error != nullptr && code == found->error;
    if (!right && !limited && !busy) fail("a question was refused: " + std::string(code));
    questions_.erase(found);
    return true;
}

// Takes the question off the list; what was wrong with its being answered.
std::string Client::answered(const Envelope& envelope, bool presence, Question& question) {
    const std::uint64_t id = number(envelope.id);
    const auto found = std::find_if(questions_.begin(), questions_.end(), [&](const Question& at) {
        return at.id == id && at.presence == presence;
    });
    if (found == questions_.end()) return "an answer to no question";
    question = *found;
    questions_.erase(found);
    if (question.error != nullptr) return "an answer instead of an error";
    const std::uint32_t topic = question.wish.topic;
    const bool same =
        envelope.topic == (topic == none ? "nobody" : world_.oracle().topic_name(topic));
    return same ? "" : "an answer about another topic";
}

void Client::on_history(const Envelope& envelope) {
    Question question;
    std::string problem = answered(envelope, false, question);
    const std::uint32_t topic = question.wish.topic;
    if (problem.empty()) {
        problem = world_.oracle().history(question.wish,
                                          envelope.payload,
                                          topic == none ? 0 : world_.keeps(topic),
                                          topic == none ? 0 : world_.keeps_most(topic));
    }
    if (!problem.empty()) fail(problem + " (history of topic " + std::to_string(topic) + ")");
}

// Who is listed there, as in an answer or among those who joined.
std::string Client::take_list(std::string_view list, Watch& watch) const {
    std::vector<std::string_view> clients;
    if (!elements(list, clients)) return "no list of clients";
    for (const std::string_view client : clients) {
        const std::string_view name = member(client, "client_id");
        const std::string_view info = member(client, "info");
        if (name.empty() || member(client, "since").empty()) return "a client without a name";
        if (info != "null" && member(info, "client").empty()) return "an info that nobody gave";
        watch.there.emplace(name);
    }
    return {};
}

void Client::on_presence(const Envelope& envelope) {
    Question question;
    std::string problem = answered(envelope, true, question);
    const Options& options = world_.options();
    const std::uint64_t count = number(member(envelope.payload, "count"));
    Watch fresh;
    const bool listed = options.presence && problem.empty();
    if (listed) problem = take_list(member(envelope.payload, "clients"), fresh);
    const bool more = member(envelope.payload, "more") == "true";
    if (!options.presence && !member(envelope.payload, "clients").empty()) {
        problem = "a list that the rule does not have";
    }
    const std::uint64_t most = options.presence ? options.config.topic.front().presence_max : 0;
    if (listed && fresh.there.size() > most) problem = "more are listed than may be";
    if (listed && more != (fresh.there.size() < count)) problem = "`more` says what is not so";
    if (question.wish.topic == none && count != 0) problem = "somebody is where nobody can be";
    for (std::size_t i = 0; i < readings_.size() && problem.empty(); i++) {
        Watch& watch = watches_[i];
        const bool same = readings_[i].topic == question.wish.topic && question.subscription != 0 &&
                          watch.subscription == question.subscription &&
                          readings_[i].expected.empty();
        if (!same) continue;
        if (count == 0) problem = "it is there, and does not count";
        if (listed && !more && !fresh.there.contains(name_)) problem = "it does not find itself";
        watch.known = listed && !more;
        watch.there = fresh.there;
    }
    if (!problem.empty()) fail(problem + " (presence)");
}

void Client::on_presence_update(const Envelope& envelope) {
    const Reading& reading = *reading_of(envelope.topic);
    Watch& watch = watches_[static_cast<std::size_t>(&reading - readings_.data())];
    if (!watch.on) {
        fail("a presence_update that nobody asked for");
        return;
    }
    watch.updates++;
    // What waited while a shard stood still comes at once, be it from before it subscribed.
    const Nanos span = world_.now() - watch.since + world_.stalled();
    const auto most = static_cast<std::uint64_t>(span / update_interval);
    if (watch.updates > most + 2) fail("more than one presence_update a second");
    if (member(envelope.payload, "truncated") == "true") {
        watch.known = false;
        if (questions_.size() < questions_max) ask_presence(reading.topic);
        return;
    }
    std::vector<std::string_view> left;
    std::string problem = take_list(member(envelope.payload, "joined"), watch);
    if (!elements(member(envelope.payload, "left"), left)) problem = "no list of those who left";
    for (const std::string_view name : left) {
        const auto found = watch.there.find(name);
        if (found != watch.there.end()) watch.there.erase(found);
    }
    const std::uint64_t count = number(member(envelope.payload, "count"));
    if (watch.known && count < watch.there.size()) problem = "fewer are counted than are there";
    if (!problem.empty()) fail(problem + " (presence_update)");
}

// What it says behind `subscribe` of who it is, and whether it wants to know of others.
std::string Client::wish_to_watch(Reading& reading) {
    if (!world_.options().presence) return {};
    std::string wish;
    if (curious_.chance(1, 2)) {
        reading.expected.back().watches = true;
        wish = R"("presence":true)";
    }
    if (curious_.chance(1, 2)) {
        wish += (wish.empty() ? "" : ",") + (R"("info":{"client":)" + std::to_string(index_) + "}");
    }
    return wish;
}

bool Client::is_on(std::uint32_t topic) const {
    if (state_ != State::open || close_sent_ || fin_sent_ || silent_since_ != never) return false;
    const io::SimLink& link = world_.net().link(link_);
    if (link.broken[0] != 0 || link.broken[1] != 0 || link.gone[io::server_side]) return false;
    return std::any_of(readings_.begin(), readings_.end(), [&](const Reading& reading) {
        return reading.topic == topic && reading.state == Reading::State::on &&
               reading.expected.empty();
    });
}

}  // namespace ringcast::sim
