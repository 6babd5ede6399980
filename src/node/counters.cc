#include "node/counters.h"

#include <array>

namespace ringcast::node {

namespace {

struct Named {
    const char* name;
    std::uint64_t Counters::*member;
};

constexpr std::array<Named, 35> all{{
    {"accepted", &Counters::accepted},
    {"refused", &Counters::refused},
    {"crowded addresses", &Counters::crowded},
    {"hasty addresses", &Counters::hasty},
    {"crowded users", &Counters::crowded_users},
    {"pending cut", &Counters::evicted},
    {"bad proxies", &Counters::bad_proxies},
    {"handshake failures", &Counters::handshake_failures},
    {"closed", &Counters::closed},
    {"messages in", &Counters::messages_in},
    {"published", &Counters::published},
    {"delivered", &Counters::delivered},
    {"sends", &Counters::sends},
    {"sent bytes", &Counters::sent_bytes},
    {"blocked", &Counters::blocked},
    {"gaps", &Counters::gaps},
    {"recovered", &Counters::recovered},
    {"repeats", &Counters::repeats},
    {"durable committed", &Counters::committed},
    {"durable refused", &Counters::uncommitted},
    {"acks", &Counters::acks},
    {"sent again", &Counters::sent_again},
    {"acks missed", &Counters::acks_missed},
    {"slow closed", &Counters::slow_closed},
    {"memory cut", &Counters::memory_cut},
    {"rate limited", &Counters::rate_limited},
    {"tokens refused", &Counters::tokens_refused},
    {"tokens expired", &Counters::tokens_expired},
    {"pong timeouts", &Counters::pong_timeouts},
    {"stalls", &Counters::stalls},
    {"long turns", &Counters::long_turns},
    {"hindered turns", &Counters::hindered_turns},
    {"late turns", &Counters::late_turns},
    {"publish pauses", &Counters::publish_pauses},
    {"turns", &Counters::turns},
}};
static_assert(sizeof(Counters) == all.size() * sizeof(std::uint64_t));

}  // namespace

std::string describe(const Counters& counters) {
    std::string text;
    for (const Named& each : all) {
        if (!text.empty()) text += ", ";
        text += each.name;
        text += ' ';
        text += std::to_string(counters.*each.member);
    }
    return text;
}

}  // namespace ringcast::node
