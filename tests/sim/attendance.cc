// At the quiet end of a world everybody who asks who is there, and everybody who was told of
// whoever came and went, must have it right.

#include <set>
#include <string>

#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

constexpr Nanos ms = nanos_per_ms;
constexpr Nanos told_within = 1200 * ms;  // updates go out once a second
constexpr Nanos prompt = 400 * ms;        // as in world.cc

}  // namespace

// Everybody asks anew, so that nobody has to be believed who missed an answer; those who watch do
// so alone, or their idea would be that of the answer.
void World::look_around() {
    if (options_.config.messages_per_second != 0) return;
    run_until(now() + told_within);
    settle(prompt, "never settled after the last who came and went");
    for (std::uint32_t topic = 0; topic < options_.topics && failure_.empty(); topic++) {
        // Who came just now may not have been told of yet: that is done once a second.
        const std::string problem = look_at_watchers(topic, false, now() - 2 * nanos_per_s);
        if (!problem.empty()) fail(problem + " (topic " + std::to_string(topic) + ")");
    }
    if (!failure_.empty()) return;
    const Nanos asked_at = now();
    for (Client& client : clients_) {
        if (!client.healthy() || client.plan().raw) continue;
        for (const Reading& reading : client.readings()) {
            if (reading.state == Reading::State::on) client.ask_presence(reading.topic);
        }
    }
    settle(prompt, "never settled after who is there was asked");
    for (std::uint32_t topic = 0; topic < options_.topics && failure_.empty(); topic++) {
        // A slow handshake may have ended when the others had asked.
        const std::string problem = look_at_watchers(topic, true, asked_at - 100 * ms);
        if (!problem.empty()) fail(problem + " (topic " + std::to_string(topic) + ", asked)");
    }
}

// Of those who opened after `newest` the others need not know.
std::string World::look_at_watchers(std::uint32_t topic, bool asked, Nanos newest) {
    std::set<std::string, std::less<>> there;
    std::size_t nameless = 0;  // of /raw
    std::size_t leaving = 0;   // those of whom the server may think either
    for (const Client& client : clients_) {
        if (!client.dialed()) continue;
        const io::SimLink& link = net_.link(client.link());
        const bool gone = link.gone[io::server_side] || link.conn == io::no_conn;
        const bool fresh = client.opened_at() > newest;
        if (client.is_on(topic) && fresh) {
            leaving++;
        } else if (client.is_on(topic)) {
            if (client.plan().raw) {
                nameless++;
            } else {
                there.insert(client.name());
            }
        } else if (!gone && client.state() != Client::State::open) {
            leaving++;
        }
    }
    for (Client& client : clients_) {
        if (!client.healthy() || client.plan().raw) continue;
        for (std::size_t i = 0; i < client.readings().size(); i++) {
            const Watch& watch = client.watches()[i];
            if (client.readings()[i].topic != topic || !watch.known) continue;
            if (!asked && !watch.on) continue;  // it knew once

            // Past presence-max some are counted alone.
            const bool bounded = options_.config.topic.front().presence_max < clients_.size();
            if (bounded) continue;
            const std::string who = "client " + client.name();
            for (const std::string& name : there) {
                if (!watch.there.contains(name)) return who + " does not know of " + name;
            }
            const std::size_t strangers = watch.there.size() - there.size();
            if (strangers < nameless || strangers > nameless + leaving) {
                return who + " knows of " + std::to_string(strangers) + " more instead of " +
                       std::to_string(nameless);
            }
        }
    }
    return {};
}

}  // namespace ringcast::sim
