// What a client does of its own: asking, publishing, flooding, leaving.

#include <algorithm>
#include <utility>

#include "tests/sim/client.h"
#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

constexpr Nanos ms = nanos_per_ms;
constexpr Nanos slack = 700 * ms;  // as in client.cc

}  // namespace

// Saying.

void Client::request(Reading& reading, bool subscribe) {
    const std::uint64_t id = next_id_++;
    world_.oracle().touch(reading.topic, world_.now());
    // What is asked before an unsubscribe may never be answered.
    if (!subscribe) {
        for (Reading::Expected& each : reading.expected) {
            each.optional = each.optional || each.subscribe;
        }
    }
    // Where it stopped is known for sure only when nothing is under way.
    const bool resumes = subscribe && reading.next != 0 && reading.expected.empty() &&
                         reading.state == Reading::State::off && again_.chance(3, 4);
    reading.expected.push_back(
        {.id = id, .subscribe = subscribe, .resumes = resumes, .said_at = world_.now()});
    const std::string watching = subscribe ? wish_to_watch(reading) : "";
    std::string text = std::string("{\"type\":\"") + (subscribe ? "subscribe" : "unsubscribe") +
                       "\",\"id\":\"" + std::to_string(id) + "\",\"topic\":\"" +
                       world_.oracle().topic_name(reading.topic) + "\"";
    std::string wish;
    if (resumes) {
        wish = "\"offset\":" + std::to_string(reading.next - 1) + ",\"epoch\":\"" +
               world_.oracle().epoch_name(reading) + "\"";
    }
    if (subscribe && world_.oracle().keyed() && again_.chance(1, 8)) {
        wish += (wish.empty() ? "" : ",") + std::string("\"max_rate\":") +
                std::to_string(again_.between(20, 100));
    }
    if (subscribe && plan_.acks) wish += (wish.empty() ? "" : ",") + std::string(R"("acks":true)");
    if (!watching.empty()) wish += (wish.empty() ? "" : ",") + watching;
    if (!wish.empty()) text += ",\"payload\":{" + wish + "}";
    say_frame(Op::text, text + "}");
}

void Client::request_pattern(bool subscribe) {
    const std::uint64_t id = next_id_++;
    pattern_.expected.push_back({.id = id, .subscribe = subscribe});
    std::string text = std::string("{\"type\":\"") + (subscribe ? "subscribe" : "unsubscribe") +
                       "\",\"id\":\"" + std::to_string(id) + "\",\"topic\":\"" + plan_.pattern +
                       "\"";
    if (subscribe && world_.oracle().keyed() && again_.chance(1, 8)) {
        text += ",\"payload\":{\"max_rate\":" + std::to_string(again_.between(20, 100)) + "}";
    } else if (subscribe && plan_.acks) {
        text += R"(,"payload":{"acks":true})";
    }
    say_frame(Op::text, text + "}");
}

// One request at a time: what is taken back before it counts is not answered. What is brought may
// be asked for by name, too, and cannot be left by name.
void Client::ask_about_pattern() {
    if (!pattern_.expected.empty()) return;
    if (pattern_.state == Reading::State::off) {
        request_pattern(true);
        return;
    }
    Reading& reading = readings_[random_.below(readings_.size())];
    const bool on = reading.state == Reading::State::on && reading.expected.empty();
    if (random_.chance(1, 6)) {
        request_pattern(false);
    } else if (on && again_.chance(1, 4)) {
        request(reading, reading.by_name ? false : again_.chance(3, 4));
    }
}

void Client::publish() {
    if (state_ != State::open || close_sent_ || fin_sent_ || silent_since_ != never) return;
    Oracle& oracle = world_.oracle();
    Publication what;
    what.topic = plan_.publish_topic;
    what.client = index_;
    what.size = static_cast<std::uint32_t>(random_.between(4, world_.options().body_max));
    what.form = plan_.raw ? static_cast<Form>(random_.below(3)) : Form::json;
    what.with_id = !plan_.raw;
    what.refused = world_.may_refuse_messages() || misbehaves_ || world_.may_refuse_now(what.topic);
    what.sent_at = world_.now();
    if (oracle.keyed()) {
        what.refused = true;  // there may be no room for it
        what.key = static_cast<std::uint8_t>(again_.below(Oracle::key_count));
        what.gone = again_.chance(1, 8);
    }
    const bool ack = !plan_.raw && again_.chance(1, 4);
    const std::uint32_t number = oracle.add(what);
    if (ack) {
        publish_for_ack(number);
        // Too impatient to wait for the answer.
        if (world_.options().repeats && again_.chance(1, 6)) publish_for_ack(number);
        oracle[number].end_byte = said_;
        return;
    }
    const std::string& body = oracle.body(number);
    if (plan_.raw) {
        say_frame(what.form == Form::binary ? Op::binary : Op::text,
                  what.form == Form::json ? '"' + body + '"' : body);
    } else {
        say_frame(Op::text, "{\"type\":\"publish\"," + members_of(number));
    }
    oracle[number].end_byte = said_;
}

// What stands behind the type of a publication.
std::string Client::members_of(std::uint32_t number) {
    Oracle& oracle = world_.oracle();
    const Publication& what = oracle[number];
    std::string text = "\"id\":\"" + std::to_string(number) + "\",\"topic\":\"" +
                       oracle.topic_name(what.topic) + "\"";
    if (oracle.keyed()) text += ",\"key\":\"" + key_name(what.key) + "\"";
    return text + ",\"payload\":" + (what.gone ? "null" : '"' + what.body + '"') + "}";
}

void Client::publish_for_ack(std::uint32_t number) {
    unanswered_.push_back(number);
    say_frame(Op::text, "{\"type\":\"publish\",\"ack_required\":true," + members_of(number));
}

// On a new connection under the same name: what the former one heard no answer to.
void Client::repeat_unanswered() {
    for (const std::uint32_t number : plan_.unanswered) {
        world_.oracle()[number].repeated = true;
        publish_for_ack(number);
    }
}

void Client::act() {
    if (calm_ || state_ != State::open || close_sent_ || fin_sent_ || silent_since_ != never) {
        return;
    }
    alarm_in(Alarm::act,
             plan_.act_every / 2 +
                 static_cast<Nanos>(random_.below(static_cast<std::uint64_t>(plan_.act_every))));
    const bool hoards = world_.options().room != 0 && !plan_.raw && plan_.kind != Kind::liar;
    if (hoards && curious_.chance(1, 3)) hoard();
    const std::uint32_t often = world_.options().questions;
    if (often > 0 && plan_.kind != Kind::liar && curious_.chance(often, 1024)) ask_question();
    if (plan_.kind == Kind::liar) {
        lie();
    } else if (plan_.kind == Kind::flooder) {
        flood();
    } else if (plan_.publishes && random_.chance(3, 4)) {
        const std::uint64_t burst = random_.chance(1, 8) ? random_.between(2, 12) : 1;
        for (std::uint64_t i = 0; i < burst; i++) {
            publish();
        }
    } else {
        ask_something();
    }
}

void Client::ask_something() {
    if (plan_.raw || out_.size() > 4096 || pongs_asked_ > 3) return;  // answers must be read too
    if (random_.chance(1, 4) || readings_.empty()) {
        pongs_asked_++;
        say_frame(Op::text, R"({"type":"ping"})");
        return;
    }
    if (!plan_.pattern.empty()) {
        ask_about_pattern();
        return;
    }
    Reading& reading = readings_[random_.below(readings_.size())];
    const bool quiet = reading.expected.empty();
    if (reading.state == Reading::State::off && quiet) {
        request(reading, true);
    } else if (quiet || (reading.expected.size() == 1 && reading.expected.front().subscribe)) {
        // Where requests may be refused, one at a time, or we lose track.
        const bool sure = !world_.may_refuse_messages() && !world_.oracle().keyed() &&
                          world_.options().room == 0 &&
                          world_.options().config.topics_per_client_max == 128;
        if (!sure && (!quiet || reading.state != Reading::State::on)) return;
        request(reading, false);
        if (sure && random_.chance(1, 2)) request(reading, true);
    }
}

// All but the end of a large message, which comes with whatever it says next: until then the server
// holds it. It is a ping, with a member that nobody knows.
void Client::hoard() {
    if (!rest_.empty() || out_.size() > 4096 || pongs_asked_ > 3) return;
    pongs_asked_++;
    const std::size_t size = world_.options().config.message_max - 64;
    const std::string text =
        R"({"type":"ping","more":")" + std::string(curious_.between(16, size), 'x') + "\"}";
    const std::string frame = client_frame(Op::text, text, 1);
    say(frame.substr(0, frame.size() - 9));
    rest_ = frame.substr(frame.size() - 9);
}

void Client::flood() {
    const std::uint64_t count = random_.between(10, 300);
    const std::uint32_t what = plan_.variant % 3;
    for (std::uint64_t i = 0; i < count && out_.size() < 100'000; i++) {
        if (what == 0) {
            pongs_asked_++;
            say_frame(Op::ping, "flood");
        } else if (what == 1 && plan_.publishes) {
            publish();
        } else if (!plan_.raw) {
            pongs_asked_++;
            say_frame(Op::text, R"({"type":"ping"})");
        }
    }
}

// Leaving, and other ways not to stay.

void Client::leave() {
    if (state_ != State::open || close_sent_) return;
    const Config& config = world_.options().config;
    if (plan_.kind == Kind::silent) {
        silent_since_ = world_.now();
        misbehaves_ = true;
        alarm_in(Alarm::deadline,
                 static_cast<Nanos>(config.ping_interval + config.pong_timeout) + slack);
        return;
    }
    misbehaves_ = true;
    if (plan_.kind == Kind::half_closer) {
        if (!out_.empty()) {
            alarm_in(Alarm::leave, 20 * ms);
            return;
        }
        fin_sent_ = true;
        world_.net().shutdown(link_);
        silent_since_ = world_.now();
        alarm_in(Alarm::deadline, static_cast<Nanos>(config.close_timeout) + slack);
        return;
    }
    come_back();
    switch (plan_.variant % 3) {
        case 0:
            world_.net().reset(link_);
            state_ = State::over;
            return;
        case 1:
            world_.net().close(link_);
            state_ = State::over;
            return;
        default:
            say(client_close(1000, 1));
            close_sent_ = true;
            expected_code_ = 1000;
            silent_since_ = world_.now();
            alarm_in(Alarm::deadline, static_cast<Nanos>(config.close_timeout) + slack);
            return;
    }
}

// The server must have let go by now, unless it stood still or the network did.
void Client::check_deadline() {
    const io::SimLink& link = world_.net().link(link_);
    if (state_ == State::over || link.gone[io::server_side]) return;
    if (plan_.kind == Kind::slow_handshake && state_ != State::asking) return;
    // Whoever takes bytes is alive, as far as the server can tell: for its pings, whoever took some
    // after it took none. And what was said before may have been long on its way.
    const io::SimStream& down = link.stream[io::server_side];
    const Nanos taken =
        std::max(plan_.kind == Kind::silent ? down.last_writable : down.last_accepted,
                 link.stream[io::client_side].last_accepted);
    // An accept may have had to wait for a descriptor.
    Nanos since = plan_.kind != Kind::slow_handshake ? std::max(silent_since_, taken)
                  : link.conn == io::no_conn         ? dialed_at_
                                                     : link.accepted_at;
    const Config& config = world_.options().config;
    Nanos allowed = slack;
    if (plan_.kind == Kind::slow_handshake) {
        allowed += static_cast<Nanos>(config.handshake_timeout);
    } else if (plan_.kind == Kind::silent) {
        allowed += static_cast<Nanos>(config.ping_interval + config.pong_timeout);
    } else {
        allowed += static_cast<Nanos>(config.close_timeout);
    }
    if (reads_no_more() && down.room() == 0) {
        // More answers may wait for it than the server keeps: it is not read from then, so it
        // cannot prove that it lives, nor is its end seen, and it has until --stall-timeout from
        // the last byte it took.
        since = std::max(since, down.last_accepted);
        allowed = std::max(allowed, static_cast<Nanos>(config.stall_timeout) + slack);
    }
    // The server may have begun to close it by then, and wait for its answer: who is silent does
    // not even hear that another one took its name, that it missed messages, or that there is no
    // memory for the keys of its topic.
    const bool may_be_late =
        plan_.raw || config.slow_policy == SlowPolicy::close || world_.oracle().keyed();
    if (close_code_ != 0 || world_.stopped_at() != never || world_.replaced(index_) ||
        may_be_late) {
        allowed += static_cast<Nanos>(config.close_timeout);
    }
    // An accept that had to wait, and bytes on their way, count from when they arrived.
    allowed += world_.stalled();
    const Nanos network = std::max(excused_until_ - since, Nanos{0});
    if (world_.now() - since < allowed + network || link.conn == io::no_conn) {
        alarm_in(Alarm::deadline, 200 * ms);
        return;
    }
    const bool under_way = !out_.empty() || link.stream[io::client_side].unacked > 0;
    if (under_way && plan_.kind != Kind::slow_handshake) return;  // it never came so far
    fail("still there " + std::to_string((world_.now() - since) / ms) + " ms after it fell silent");
}

// On another connection, which goes on where this one stopped.
void Client::come_back() {
    Plan next = plan_;
    if (!plan_.raw) next.memory = readings_;
    for (Reading& reading : next.memory) {
        reading.end();
        reading.expected.clear();
    }
    next.unanswered.clear();
    if (world_.options().repeats && plan_.who != none) {
        next.unanswered = unanswered_;
        world_.oracle().forgive(index_);
    }
    keep_debts(next);
    world_.come_back(next, static_cast<Nanos>(random_.between(1, 500)) * ms);
}

}  // namespace ringcast::sim
