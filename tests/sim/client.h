#pragma once

// One connection of one client: what it does, and what it holds the server to.
//
// A client acts at alarms (say something, read something, go) and reacts to bytes. Everything that
// comes is checked at once: frames by RFC 6455, envelopes by docs/PROTOCOL.md, records by the
// oracle, and the end of the connection by whether it had a right to come.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/sim_net.h"
#include "io/sim_random.h"
#include "tests/sim/oracle.h"
#include "tests/sim/words.h"

namespace ringcast::sim {

class World;

enum class Kind : std::uint8_t {
    good,            // reads at once, answers pings, publishes now and then
    slow,            // the same, but reads a little, now and then
    silent,          // opens, and then says nothing any more, not even pong
    slow_handshake,  // its request trickles in, or stops halfway
    flooder,         // more of everything than is allowed
    liar,            // breaks the protocol
    half_closer,     // FIN, and goes on reading
    leaver,          // goes in some way, and comes back
};

// Topic and offset of a record that wants to be acknowledged.
using Place = std::pair<std::uint32_t, std::uint64_t>;
struct Debt {
    std::size_t hash = 0;  // of the whole envelope
    bool told = false;     // it was acknowledged
    bool settled = false;  // ... and the server has heard it: it may not come again
};

struct Plan {
    Kind kind = Kind::good;
    bool raw = false;
    bool publishes = false;
    std::uint32_t reactor = 0;
    std::uint32_t who = none;  // number of its client_id
    std::vector<std::uint32_t> topics;
    std::string pattern = {};  // that stands for all topics; empty: they are named
    std::uint32_t publish_topic = 0;
    std::uint32_t variant = 0;  // of a liar, a leaver, ...
    Nanos act_every = 0;
    bool compress = false;  // it offers compression, and compresses itself
    // Of the connection before this one: where its readings stopped (one a topic, or none at all),
    // and which publications it heard no answer to.
    std::vector<Reading> memory = {};
    std::vector<std::uint32_t> unanswered = {};
    bool acks = false;  // it acknowledges what it gets; from the connection before, as one session:
    std::string session = {};
    std::map<Place, Debt> debts = {};
};

// What its socket has not taken yet. A flooder has much of it, and loses it byte by byte.
class Unsent {
  public:
    void add(std::string_view bytes) { bytes_ += bytes; }
    void drop(std::size_t count) {
        at_ += count;
        if (at_ < bytes_.size() && at_ < 65536) return;
        bytes_.erase(0, at_);
        at_ = 0;
    }
    [[nodiscard]] std::string_view view() const { return std::string_view(bytes_).substr(at_); }
    [[nodiscard]] std::size_t size() const { return bytes_.size() - at_; }
    [[nodiscard]] bool empty() const { return size() == 0; }

  private:
    std::string bytes_;
    std::size_t at_ = 0;
};

// What it asked: `history` or `presence`.
struct Question {
    std::uint64_t id = 0;
    bool presence = false;
    HistoryWish wish = {};
    const char* error = nullptr;     // it breaks a rule, and is answered by this
    std::uint64_t subscription = 0;  // presence: of the watch, if it is in the list itself
};

// Who is on a topic, as one of its readers sees it.
struct Watch {
    bool on = false;
    bool known = false;  // `there` is all of it
    std::uint64_t subscription = 0;
    std::uint64_t updates = 0;
    Nanos since = 0;
    std::set<std::string, std::less<>> there;
};

class Client {
  public:
    enum class State : std::uint8_t { idle, asking, open, closing, over };
    enum class Alarm : std::uint8_t { dial, act, drink, trickle, leave, deadline };

    Client(World& world, std::uint32_t index, Plan plan);

    void on_readable();
    void on_room() { flush(); }
    void on_alarm(Alarm alarm);

    // From now on it reads at once and does nothing on its own.
    void calm_down();
    void come_late();  // dials, when it is calm already
    void publish();    // one message on its topic
    void ask_presence(std::uint32_t topic);
    void network_fault(Nanos until);  // what happens to it until then is not the server's doing

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] const Plan& plan() const { return plan_; }
    [[nodiscard]] io::LinkId link() const { return link_; }
    [[nodiscard]] std::vector<Reading>& readings() { return readings_; }
    [[nodiscard]] const std::vector<Watch>& watches() const { return watches_; }
    // As the server calls it; empty: it has not said so.
    [[nodiscard]] const std::string& name() const { return name_; }
    // The server has it among those who are on that topic, or will let it go without a word.
    [[nodiscard]] bool is_on(std::uint32_t topic) const;
    [[nodiscard]] bool dialed() const { return link_ != io::no_link_id; }
    // An open connection from which everything may be expected.
    [[nodiscard]] bool healthy() const;
    [[nodiscard]] Nanos opened_at() const { return opened_at_; }
    // It is silent, and of those who do not even take what is sent to them.
    [[nodiscard]] bool reads_no_more() const {
        return silent_since_ != never && plan_.variant % 2 == 0;
    }
    // Its pattern has been confirmed, and neither a limit nor memory keeps a topic from it.
    [[nodiscard]] bool has_all() const;
    // What is still missing here; empty if nothing.
    [[nodiscard]] std::string pending();
    [[nodiscard]] std::uint16_t close_code() const { return close_code_; }
    [[nodiscard]] std::uint64_t handed() const;
    [[nodiscard]] Nanos moved_at() const;  // when its link last took bytes, either way
    // Ends it for good, at the end of the world.
    void vanish();

  private:
    void dial();
    void act();
    void ask_something();
    void flood();
    void hoard();
    void lie();
    void ask_question();
    [[nodiscard]] bool is_repeat(const Reading& reading,
                                 const Envelope& envelope,
                                 std::string_view text);
    void owe(const Reading& reading, const Envelope& envelope, std::string_view text);
    void acknowledge(const Reading& reading, const Envelope& envelope);
    void acknowledge_all();
    void on_pong(std::string_view id);
    void keep_debts(Plan& next) const;
    void ask_history();
    void on_history(const Envelope& envelope);
    void on_presence(const Envelope& envelope);
    void on_presence_update(const Envelope& envelope);
    [[nodiscard]] bool on_refused(std::uint64_t id, std::string_view code);
    [[nodiscard]] std::string answered(const Envelope& envelope, bool presence, Question& question);
    [[nodiscard]] std::string take_list(std::string_view list, Watch& watch) const;
    [[nodiscard]] std::string wish_to_watch(Reading& reading);
    void leave();
    void come_back();
    void trickle();
    void check_deadline();
    void say(std::string_view bytes);
    void say_frame(Op op, std::string_view payload);
    void flush();
    void drain_input(std::size_t most);
    void look_at_end();
    void on_frame(const Frame& frame);
    void on_close(const Frame& frame);
    void on_envelope(std::string_view text);
    void on_answer(const Envelope& envelope);
    void on_pattern(const Envelope& envelope);
    void on_brought(Reading& reading, const Envelope& envelope);
    void on_error(const Envelope& envelope);
    void on_ack(const Envelope& envelope);
    [[nodiscard]] bool forget_unanswered(std::uint64_t id);
    void publish_for_ack(std::uint32_t number);
    [[nodiscard]] std::string members_of(std::uint32_t number);
    void repeat_unanswered();
    void on_raw(const Frame& frame);
    void on_open();
    void check_code(std::uint16_t code);
    void check_restart();
    void request(Reading& reading, bool subscribe);
    void request_pattern(bool subscribe);
    void ask_about_pattern();
    [[nodiscard]] Reading* reading_of(std::string_view topic);
    [[nodiscard]] bool excused() const;
    void finish(bool orderly);
    void fail(const std::string& what);
    void note(const char* what, std::string_view detail = {}) const;
    void alarm_in(Alarm alarm, Nanos after);

    World& world_;
    std::uint32_t index_;
    Plan plan_;
    io::SimRandom random_;
    io::SimRandom again_;    // what it says twice, and where it goes on
    io::SimRandom curious_;  // what it asks
    io::SimRandom sure_;     // what it acknowledges
    State state_ = State::idle;
    io::LinkId link_ = io::no_link_id;
    Reader reader_;
    Unsent out_;
    std::string rest_;        // of a message that it has begun: it goes before anything else
    std::uint64_t said_ = 0;  // bytes, those in out_ included
    std::vector<Reading> readings_;
    Reading pattern_;  // only its state and what is expected
    Nanos confirmed_ = never;
    bool lacks_place_ = false;    // a topic could not be brought
    std::vector<Watch> watches_;  // one for each of readings_
    std::vector<Question> questions_;
    std::string name_;
    std::string session_;
    std::map<Place, Debt> debts_;
    std::map<std::uint64_t, std::vector<Place>> told_;  // by the ping behind the ack
    std::vector<std::uint32_t> unanswered_;  // publications, one entry for each time they were said
    std::uint64_t next_id_;
    std::uint32_t pongs_asked_ = 0;
    std::uint16_t close_code_ = 0;
    std::uint16_t expected_code_ = 0;  // a liar's
    int expected_status_ = 0;          // ... before it is open
    Nanos excused_until_ = 0;
    Nanos silent_since_ = never;
    Nanos dialed_at_ = 0;
    Nanos opened_at_ = 0;
    bool calm_ = false;
    bool welcomed_ = false;
    bool close_sent_ = false;
    bool fin_sent_ = false;
    bool misbehaves_ = false;  // it may be closed at any time
    bool drinking_ = false;
};

}  // namespace ringcast::sim
