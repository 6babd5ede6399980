#include "tests/sim/client.h"

#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

constexpr Nanos ms = nanos_per_ms;
// Ticks, delays and the order of things: what may come on top of a time-out of the server.
constexpr Nanos slack = 700 * ms;

}  // namespace

Client::Client(World& world, std::uint32_t index, Plan plan)
    : world_(world),
      index_(index),
      plan_(std::move(plan)),
      random_(world.client_random().fork()),
      again_(world.options().seed ^ (0xa6a1'0000ULL + index), world.options().tape),
      curious_(world.options().seed ^ (0xc0'7105'0000ULL + index), world.options().tape),
      sure_(world.options().seed ^ (0x5'03e0'0000ULL + index), world.options().tape),
      next_id_(1'000'000'000 + std::uint64_t{index} * 100'000) {
    for (const std::uint32_t topic : plan_.topics) {
        readings_.emplace_back().topic = topic;
    }
    for (const Reading& known : plan_.memory) {
        readings_[static_cast<std::size_t>(&known - plan_.memory.data())] = known;
    }
    watches_.resize(readings_.size());
    session_ = plan_.session;
    debts_ = plan_.debts;
    misbehaves_ = plan_.kind == Kind::flooder;
}

void Client::alarm_in(Alarm alarm, Nanos after) {
    world_.net().alarm(world_.now() + after,
                       (std::uint64_t{index_} << 8) | static_cast<std::uint64_t>(alarm));
}

void Client::fail(const std::string& what) {
    world_.fail("client " + std::to_string(index_) + " (kind " +
                std::to_string(static_cast<int>(plan_.kind)) + ", variant " +
                std::to_string(plan_.variant) + (plan_.raw ? ", raw" : "") + "): " + what);
}

void Client::note(const char* what, std::string_view detail) const {
    if (!world_.options().trace) return;
    world_.note("client " + std::to_string(index_) + " " + what + " " +
                std::string(detail.substr(0, 120)));
}

void Client::on_alarm(Alarm alarm) {
    if (alarm == Alarm::dial) {
        if (state_ == State::idle) dial();
        return;
    }
    if (state_ == State::over || state_ == State::idle) return;
    switch (alarm) {
        case Alarm::dial:
            return;
        case Alarm::act:
            act();
            return;
        case Alarm::drink:
            drinking_ = false;
            on_readable();
            return;
        case Alarm::trickle:
            trickle();
            return;
        case Alarm::leave:
            if (!calm_) leave();
            return;
        case Alarm::deadline:
            check_deadline();
            return;
    }
}

void Client::dial() {
    const Options& options = world_.options();
    const auto delay =
        static_cast<Nanos>(random_.between(5000, static_cast<std::uint64_t>(options.delay_max)));
    const std::size_t up = random_.between(256, options.window_max);
    const std::size_t down = random_.between(256, options.window_max);
    link_ = world_.net().dial(plan_.reactor, delay, up, down);
    world_.linked(link_, index_);
    state_ = State::asking;
    dialed_at_ = world_.now();
    std::string target = plan_.raw ? "/raw?" : "/ws?";
    if (plan_.raw) {
        for (const std::uint32_t topic : plan_.topics) {
            world_.oracle().touch(topic, world_.now());
        }
        for (const std::uint32_t topic : plan_.topics) {
            target += "topic=" + world_.oracle().topic_name(topic) + "&";
        }
        if (plan_.publishes) {
            target += "publish=" + world_.oracle().topic_name(plan_.publish_topic) + "&";
        }
    }
    if (plan_.who != none) target += "client_id=c" + std::to_string(plan_.who);
    if (!session_.empty()) target += "&session=" + session_;
    const std::string request = upgrade_request(target, plan_.compress);
    if (plan_.compress) reader_.take_compressed();
    note("dials",
         "shard " + std::to_string(plan_.reactor) + " link " + std::to_string(link_) + " kind " +
             std::to_string(static_cast<int>(plan_.kind)) + " " + target);
    if (plan_.kind == Kind::slow_handshake) {
        out_.add(request);
        misbehaves_ = true;
        alarm_in(Alarm::trickle, 1);
        alarm_in(Alarm::deadline, static_cast<Nanos>(options.config.handshake_timeout) + slack);
        return;
    }
    if (plan_.kind == Kind::liar && plan_.variant < 6) {
        lie();
        return;
    }
    say(request);
}

void Client::come_late() {
    dial();
    calm_ = true;
}

// A byte or a few at a time, or never the rest.
void Client::trickle() {
    if (state_ != State::asking || out_.empty()) return;
    const std::size_t most = plan_.variant % 3 == 0 ? 1 : 40;
    const std::size_t sent = world_.net().send(link_, out_.view().substr(0, most));
    said_ += sent;
    out_.drop(sent);
    if (plan_.variant % 3 == 2 && random_.chance(1, 3)) return;
    alarm_in(Alarm::trickle, static_cast<Nanos>(random_.between(1, 60)) * ms);
}

void Client::say(std::string_view bytes) {
    if (state_ == State::over || fin_sent_) return;
    const std::string rest = std::exchange(rest_, {});
    out_.add(rest);
    out_.add(bytes);
    said_ += rest.size() + bytes.size();
    flush();
}

void Client::say_frame(Op op, std::string_view payload) {
    note("says", payload);
    const auto key = static_cast<std::uint32_t>(random_.below(std::uint64_t{1} << 32));
    const bool data = op == Op::text || op == Op::binary;
    const bool compressed = plan_.compress && data && payload.size() % 2 == 0;
    say(compressed ? compressed_frame(op, payload, key) : client_frame(op, payload, key));
}

void Client::flush() {
    if (state_ == State::over || state_ == State::idle || out_.empty()) return;
    if (plan_.kind == Kind::slow_handshake && state_ == State::asking) return;
    const std::size_t sent = world_.net().send(link_, out_.view());
    out_.drop(sent);
}

std::uint64_t Client::handed() const {
    return link_ == io::no_link_id ? 0 : world_.net().link(link_).stream[io::client_side].read;
}

Nanos Client::moved_at() const {
    if (link_ == io::no_link_id) return 0;
    const io::SimLink& link = world_.net().link(link_);
    return std::max(link.stream[0].last_accepted, link.stream[1].last_accepted);
}

void Client::network_fault(Nanos until) {
    excused_until_ = std::max(excused_until_, until);
}

bool Client::excused() const {
    if (misbehaves_ || excused_until_ > world_.now()) return true;
    return link_ != io::no_link_id && world_.net().link(link_).broken[io::server_side] != 0;
}

bool Client::healthy() const {
    if (state_ != State::open || misbehaves_ || close_sent_ || fin_sent_) return false;
    if (silent_since_ != never) return false;
    const io::SimLink& link = world_.net().link(link_);
    return link.broken[0] == 0 && link.broken[1] == 0 && !link.gone[io::server_side];
}

void Client::calm_down() {
    calm_ = true;
    if (state_ == State::idle) {
        state_ = State::over;  // too late to come
        return;
    }
    if (!rest_.empty()) say({});
    acknowledge_all();
    if (plan_.kind == Kind::slow) on_readable();
}

// Reading.

void Client::on_readable() {
    if (state_ == State::over || state_ == State::idle) return;
    if (plan_.kind == Kind::slow && !calm_) {
        if (drinking_) return;
        drinking_ = true;
        drain_input(random_.below(400));
        alarm_in(Alarm::drink, static_cast<Nanos>(random_.between(1, 400)) * ms);
        return;
    }
    if (reads_no_more()) return;
    drain_input(SIZE_MAX);
}

void Client::drain_input(std::size_t most) {
    std::string bytes;
    world_.net().read(link_, bytes, most);
    if (!bytes.empty()) {
        const int before = reader_.status();
        reader_.feed(bytes);
        if (before == 0 && reader_.status() != 0) on_open();
        Frame frame;
        while (state_ != State::over && reader_.next(frame)) {
            on_frame(frame);
        }
        if (!reader_.fault().empty()) fail(reader_.fault());
    }
    look_at_end();
}

void Client::look_at_end() {
    if (state_ == State::over) return;
    if (world_.net().broken(link_)) {
        finish(false);
    } else if (world_.net().ended(link_)) {
        finish(true);
    }
}

// The answer to the request is here.
void Client::on_open() {
    const int status = reader_.status();
    if (status != 101) {
        const bool full = status == 503 && (world_.full() || world_.refused(link_));
        if (!full && status != expected_status_ && plan_.kind != Kind::slow_handshake) {
            fail("status " + std::to_string(status));
        }
        misbehaves_ = true;
        return;
    }
    if (expected_status_ != 0) fail("an upgrade instead of a refusal");
    state_ = State::open;
    opened_at_ = world_.now();
    for (Reading& reading : readings_) {
        reading.life = world_.life_of(link_);
    }
    if (plan_.kind == Kind::slow_handshake) misbehaves_ = false;
    if (plan_.raw) {
        for (Reading& reading : readings_) {
            reading.state = Reading::State::on;
        }
    } else {
        // Behind a pattern's back: what it knows, from where it stopped.
        for (Reading& reading : readings_) {
            if (plan_.pattern.empty() || reading.next != 0) request(reading, true);
        }
        if (!plan_.pattern.empty()) request_pattern(true);
        repeat_unanswered();
    }
    if (plan_.act_every > 0) alarm_in(Alarm::act, plan_.act_every);
    if (plan_.kind == Kind::leaver || plan_.kind == Kind::half_closer ||
        plan_.kind == Kind::silent) {
        alarm_in(Alarm::leave, static_cast<Nanos>(random_.between(1, 1500)) * ms);
    }
}

void Client::on_frame(const Frame& frame) {
    note(frame.op == Op::ping    ? "hears ping"
         : frame.op == Op::close ? "hears close"
                                 : "hears",
         frame.payload);
    switch (frame.op) {
        case Op::ping:
            if (silent_since_ == never && !close_sent_) {
                say_frame(Op::pong, frame.payload);
                world_.answered_ping();
            }
            return;
        case Op::pong:
            if (pongs_asked_ == 0) fail("a pong that nobody asked for");
            return;
        case Op::close:
            on_close(frame);
            return;
        case Op::text:
            if (plan_.raw) {
                on_raw(frame);
            } else {
                on_envelope(frame.payload);
            }
            return;
        case Op::binary:
            if (!plan_.raw) fail("binary on /ws");
            on_raw(frame);
            return;
        case Op::more:
            return;
    }
}

void Client::on_raw(const Frame& frame) {
    if (world_.oracle().keyed() && frame.payload == "null") return;  // a key is gone
    const std::uint32_t publication = world_.oracle().identify(frame.payload);
    if (publication == none) {
        fail("a payload that nobody published");
        return;
    }
    for (Reading& reading : readings_) {
        if (reading.topic != world_.oracle()[publication].topic) continue;
        const std::string problem = world_.oracle().raw_record(reading, frame.op, frame.payload);
        if (!problem.empty()) fail(problem);
        if (reading.clear_since == never) reading.clear_since = world_.now();
        return;
    }
    fail("a record of a topic that was not asked for");
}

Reading* Client::reading_of(std::string_view topic) {
    for (Reading& reading : readings_) {
        if (world_.oracle().topic_name(reading.topic) == topic) return &reading;
    }
    return nullptr;
}

void Client::on_envelope(std::string_view text) {
    const Envelope envelope = read_envelope(text);
    if (!envelope.valid) {
        fail("not an envelope: " + std::string(text.substr(0, 200)));
        return;
    }
    if (!std::exchange(welcomed_, true)) {
        if (envelope.type != "welcome") fail("no welcome first");
        name_ = member(envelope.payload, "client_id");
        return;
    }
    if (envelope.type == "pong") {
        if (pongs_asked_ == 0) fail("a pong that nobody asked for");
        pongs_asked_--;
        on_pong(envelope.id);
        return;
    }
    if (envelope.type == "error") {
        on_error(envelope);
        return;
    }
    if (envelope.type == "ack") {
        on_ack(envelope);
        return;
    }
    if (!plan_.pattern.empty() && envelope.topic == plan_.pattern) {
        on_pattern(envelope);
        return;
    }
    if (envelope.type == "history") {
        on_history(envelope);
        return;
    }
    if (envelope.type == "presence") {
        on_presence(envelope);
        return;
    }
    Reading* reading = reading_of(envelope.topic);
    if (reading == nullptr) {
        fail("about a topic that was not asked for: " + std::string(text.substr(0, 200)));
        return;
    }
    std::string problem;
    if (envelope.type == "data_update") {
        if (is_repeat(*reading, envelope, text)) return;
        problem = world_.oracle().record(*reading, envelope);
        owe(*reading, envelope, text);
    } else if (envelope.type == "gap") {
        // Too much was published on a new topic before those it was made for could be brought.
        const bool kept = plan_.pattern.empty() || member(envelope.payload, "reason") != "history";
        const bool owed = reading->owed.from != 0 || !kept;
        if (!owed && world_.options().config.slow_policy != SlowPolicy::gap) {
            problem = "a gap by policy";
        }
        if (problem.empty())
            problem = world_.oracle().gap(*reading, envelope.payload, world_.now());
    } else if (envelope.type == "presence_update") {
        on_presence_update(envelope);
    } else if (!plan_.pattern.empty() && envelope.id.empty()) {
        on_brought(*reading, envelope);
    } else {
        on_answer(envelope);
    }
    if (!problem.empty()) fail(problem + " (topic " + std::to_string(reading->topic) + ")");
}

void Client::on_answer(const Envelope& envelope) {
    Reading& reading = *reading_of(envelope.topic);
    const bool subscribed = envelope.type == "subscribed";
    if (subscribed && envelope.id.empty() && world_.oracle().keyed()) {
        // It was so far behind that it does not know of keys that are gone.
        const std::string problem =
            reading.state != Reading::State::on
                ? "begins anew without a subscription"
                : world_.oracle().subscribed(reading, envelope.payload, false, 0, world_.now());
        if (!problem.empty()) fail(problem);
        return;
    }
    const std::uint64_t id = number(envelope.id);
    if (!subscribed && envelope.type != "unsubscribed") {
        fail("an unknown type: " + std::string(envelope.type));
        return;
    }
    while (!reading.expected.empty() && reading.expected.front().id != id) {
        if (!reading.expected.front().optional) break;
        reading.expected.pop_front();
    }
    if (reading.expected.empty() || reading.expected.front().id != id ||
        reading.expected.front().subscribe != subscribed) {
        fail("an answer to nothing: " + std::string(envelope.type) + " " +
             std::string(envelope.id));
        return;
    }
    const Reading::Expected asked = reading.expected.front();
    reading.expected.pop_front();
    Watch& watch = watches_[static_cast<std::size_t>(&reading - readings_.data())];
    watch = {.on = subscribed && asked.watches,
             .subscription = watch.subscription + 1,
             .since = asked.said_at,
             .there = {}};
    if (!subscribed) {
        reading.end();
        if (pattern_.state == Reading::State::on) fail("unsubscribed what a pattern brings");
        return;
    }
    if (watch.on) ask_presence(reading.topic);
    session_ = member(envelope.payload, "session");
    Oracle& oracle = world_.oracle();
    const std::string problem = reading.state == Reading::State::on
                                    ? oracle.named(reading, envelope.payload, world_.now())
                                    : oracle.subscribed(reading,
                                                        envelope.payload,
                                                        asked.resumes,
                                                        world_.keeps(reading.topic),
                                                        world_.now());
    reading.by_name = true;
    if (!problem.empty()) fail(problem + " (topic " + std::to_string(reading.topic) + ")");
}

void Client::on_pattern(const Envelope& envelope) {
    const bool subscribed = envelope.type == "subscribed";
    if (pattern_.expected.empty() || number(envelope.id) != pattern_.expected.front().id ||
        pattern_.expected.front().subscribe != subscribed) {
        fail("an answer to no pattern: " + std::string(envelope.type));
        return;
    }
    pattern_.expected.pop_front();
    pattern_.state = subscribed ? Reading::State::on : Reading::State::off;
    confirmed_ = subscribed ? world_.now() : never;
    if (subscribed && member(envelope.payload, "pattern") != "true") fail("not as a pattern");
    for (Reading& reading : readings_) {
        if (!subscribed && !reading.by_name) reading.end();
    }
}

void Client::on_brought(Reading& reading, const Envelope& envelope) {
    const bool anew = world_.oracle().keyed() && reading.state == Reading::State::on &&
                      member(envelope.payload, "pattern").empty();
    if (anew) {  // it was too far behind
        on_answer(envelope);
        return;
    }
    const bool due = pattern_.state == Reading::State::on && reading.state == Reading::State::off;
    const bool ours = member(envelope.payload, "pattern") == plan_.pattern;
    if (envelope.type != "subscribed" || !envelope.id.empty() || !due || !ours) {
        fail("not brought by a pattern: " + std::string(envelope.type));
        return;
    }
    const std::string problem =
        world_.oracle().brought(reading, envelope.payload, confirmed_, world_.now());
    if (!problem.empty()) fail(problem + " (topic " + std::to_string(reading.topic) + ")");
}

void Client::on_error(const Envelope& envelope) {
    const std::string_view code = member(envelope.payload, "code");
    const std::uint64_t id = number(envelope.id);
    const Config& config = world_.options().config;
    const bool limited = code == "rate_limited" && config.messages_per_second != 0;
    const bool short_of = config.topics_max < world_.options().topics || world_.options().room != 0;
    const bool crowded = code == "too_many_topics" && short_of;
    const bool many = code == "too_many_subscriptions" && config.topics_per_client_max < 128;
    const bool keys = code == "too_many_keys" || code == "keys_full" || code == "no_memory";
    const bool stored = code == "busy" || code == "store_full" || code == "store_failed";
    const bool unstored = stored && world_.options().durable != 0;
    const bool behind = code == "busy" && plan_.compress;  // others' shards are, with much of ours
    if (on_refused(id, code)) return;
    if (code == "not_awaited" && plan_.acks) return;  // said twice, or it has expired
    const bool covered = code == "covered" && pattern_.state == Reading::State::on;
    const bool usual = limited || crowded || many || unstored || covered || behind ||
                       (keys && world_.oracle().keyed());
    if (!usual && plan_.kind != Kind::liar && plan_.kind != Kind::flooder) {
        fail("error " + std::string(code));
        return;
    }
    if (!envelope.id.empty() && forget_unanswered(id)) return;
    lacks_place_ = lacks_place_ || (envelope.id.empty() && !limited);
    std::erase_if(pattern_.expected, [&](const Reading::Expected& each) { return each.id == id; });
    // A refused request leaves its topic as it was.
    for (Reading& reading : readings_) {
        for (std::size_t i = 0; i < reading.expected.size(); i++) {
            if (reading.expected[i].id != id) continue;
            reading.expected.erase(reading.expected.begin() + static_cast<std::ptrdiff_t>(i));
            return;
        }
    }
    if (limited && pongs_asked_ > 0 && envelope.id.empty()) pongs_asked_--;
}

void Client::finish(bool orderly) {
    const State before = std::exchange(state_, State::over);
    note(orderly ? "is at the end" : "is reset");
    world_.net().close(link_);
    if (world_.crashed_since(dialed_at_)) {
        const bool well = !misbehaves_ && !close_sent_ && !fin_sent_ && silent_since_ == never;
        if (well && (before == State::open || before == State::asking)) come_back();
        return;
    }
    if (excused() || plan_.kind == Kind::slow) return;  // it may have read the end too late
    const std::string seen = "code " + std::to_string(close_code_);
    if (before == State::asking && world_.stopped_at() != never) return;
    if (before == State::asking && world_.refused(link_)) return;
    if (close_code_ == 0 && world_.was_cut()) return;
    if (close_code_ == 0) fail(orderly ? "closed without a word" : "reset without a word");
    if (reader_.inside_frame()) fail("closed inside a frame, " + seen);
    // An answer that waits behind all it still wanted to say, or is long on its way, may come too
    // late; and who is being closed may be cut for its memory.
    const std::uint64_t unacked = world_.net().link(link_).stream[io::client_side].unacked;
    if (!orderly && out_.empty() && unacked == 0 && !world_.was_cut())
        fail("reset after the closing handshake, " + seen);
    if (expected_code_ != 0 && expected_code_ != close_code_) fail("closed with " + seen);
}

void Client::vanish() {
    if (state_ == State::over || state_ == State::idle) return;
    state_ = State::over;
    world_.net().reset(link_);
}

void Client::on_close(const Frame& frame) {
    close_code_ = 1005;
    if (frame.payload.size() >= 2) {
        close_code_ =
            static_cast<std::uint16_t>((static_cast<unsigned char>(frame.payload[0]) << 8) |
                                       static_cast<unsigned char>(frame.payload[1]));
    }
    state_ = State::closing;
    check_code(close_code_);
    if (close_code_ == 1012) check_restart();
    if (close_sent_ || silent_since_ != never) return;
    close_sent_ = true;
    say(client_close(close_code_ == 1005 ? 1000 : close_code_, 7));
}

void Client::check_code(std::uint16_t code) {
    const Config& config = world_.options().config;
    bool allowed = code == expected_code_ && expected_code_ != 0;
    allowed = allowed || (code == 1012 && world_.stopped_at() != never);
    allowed = allowed || (code == 4501 && world_.replaced(index_));
    allowed = allowed ||
              (code == 4029 && (config.messages_per_second != 0 || plan_.kind == Kind::flooder));
    const bool many_errors = world_.may_refuse_messages() || plan_.kind == Kind::liar;
    allowed = allowed || (code == 4008 && (plan_.raw || config.slow_policy == SlowPolicy::close ||
                                           plan_.kind == Kind::slow || excused() || many_errors));
    const bool crowded = config.topics_max < world_.options().topics || world_.options().room != 0;
    const bool unstored = plan_.publishes && plan_.publish_topic < world_.options().durable;
    allowed = allowed || (plan_.raw && (crowded || unstored) && code == 1013);
    allowed = allowed || (world_.oracle().keyed() && code == 1013);  // no memory for keys
    allowed = allowed || (plan_.raw && plan_.kind == Kind::liar && code == 1008);
    if (!allowed) fail("closed with " + std::to_string(code));
}

// Before a 1012 comes everything that the server had when it was asked to stop.
void Client::check_restart() {
    if (excused() || plan_.kind == Kind::slow) return;
    const auto drain = static_cast<Nanos>(world_.options().config.drain_timeout);
    if (world_.now() > world_.stopped_at() + drain * 7 / 8) return;
    Oracle& oracle = world_.oracle();
    for (const Reading& reading : readings_) {
        if (reading.state != Reading::State::on || oracle.keyed()) continue;
        for (std::uint32_t i = 0; i < oracle.count(); i++) {
            const Publication& what = oracle[i];
            if (what.topic != reading.topic || !what.required || what.refused) continue;
            if (what.sent_at <= reading.clear_since) continue;
            // What reached the server behind its own close frame is no message any more.
            if (world_.hung_up(what.client)) continue;
            const std::uint32_t seen = reading.last_from(what.client);
            if (seen != none && seen >= i) continue;
            fail("1012 before record N" + std::to_string(i));
            return;
        }
    }
}

bool Client::has_all() const {
    return pattern_.state == Reading::State::on && pattern_.expected.empty() && !lacks_place_ &&
           !world_.may_refuse_messages() && world_.options().config.topics_per_client_max == 128;
}

std::string Client::pending() {
    const std::string name = "client " + std::to_string(index_);
    if (state_ == State::asking && plan_.kind != Kind::slow_handshake && !excused()) {
        return name + " waits for the answer to its request";
    }
    // What a flooder said in the storm may still be on its way.
    const bool speaks = plan_.kind == Kind::flooder && state_ == State::open && !close_sent_;
    if (speaks && !out_.empty() && !world_.net().link(link_).gone[io::server_side]) {
        return name + " has not said all";
    }
    const bool fell_silent = silent_since_ != never && state_ != State::over;
    if (fell_silent && !world_.net().link(link_).gone[io::server_side]) {
        return name + " is to be let go: it fell silent";
    }
    if (!healthy()) return {};
    for (const Reading& reading : readings_) {
        if (!plan_.raw && world_.oracle().behind(reading)) {
            return name + " has not the latest of every key of topic " +
                   std::to_string(reading.topic);
        }
        for (const Reading::Expected& each : reading.expected) {
            if (each.optional) continue;
            return name + " waits for answer " + std::to_string(each.id) + " on topic " +
                   std::to_string(reading.topic);
        }
    }
    if (!pattern_.expected.empty()) return name + " waits for the answer to its pattern";
    if (!questions_.empty()) {
        return name + " waits for answer " + std::to_string(questions_.front().id);
    }
    if (!unanswered_.empty()) return name + " waits for ack N" + std::to_string(unanswered_[0]);
    if (!out_.empty()) return name + " cannot say all it wants";
    return {};
}

}  // namespace ringcast::sim
