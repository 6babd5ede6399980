// Tickets whose keys change by time: clients that come back with them, sooner and later.

#include "wire/tls_tickets.h"

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/tls.h"

using namespace ringcast;
using ringcast::test::make_certificate;
using ringcast::test::TempFolder;
using ringcast::test::TlsClient;
using ringcast::test::write_pair;
using wire::TlsContext;
using wire::TlsFilter;
using wire::TlsTickets;

namespace {

constexpr Nanos hour = Nanos{3600} * nanos_per_s;

// A client that comes, shakes hands, and has its ticket.
struct Visit {
    explicit Visit(const TlsContext& context,
                   const TlsClient::Options& options = {},
                   SSL_SESSION* ticket = nullptr)
        : client(options, ticket), filter(context) {
        client.feed("");
        std::array<std::byte, 1024> target{};
        for (std::string said = client.take(); !said.empty(); said = client.take()) {
            Bytes rest = as_bytes(said);
            std::vector<std::byte> out;
            static_cast<void>(filter.receive(rest, target, out));
            client.feed(as_text(out));
        }
        CHECK(client.open());
        CHECK(client.resumed() == filter.resumed());
    }

    TlsClient client;
    TlsFilter filter;
};

TlsContext context_with(const TlsTickets& tickets, const std::vector<wire::TlsPair>& pairs) {
    std::string problem;
    auto loaded = TlsContext::load(pairs, problem, &tickets);
    REQUIRE_MESSAGE(loaded.ok(), problem);
    return std::move(loaded).value();
}

std::string present_name(const TlsTickets& tickets) {
    TlsTickets::Key key;
    tickets.take_present(key);
    return {reinterpret_cast<const char*>(key.name.data()), key.name.size()};
}

TlsTickets::Age age_of(const TlsTickets& tickets, const std::string& name) {
    TlsTickets::Key key;
    return tickets.find(reinterpret_cast<const unsigned char*>(name.data()), key);
}

}  // namespace

TEST_CASE("tls tickets: a key makes them for four hours, and opens them for as long again") {
    TlsTickets tickets;
    CHECK(tickets.due() == never);
    const std::string first = present_name(tickets);
    tickets.tend(hour);
    CHECK(tickets.due() == 5 * hour);
    tickets.tend(5 * hour - 1);
    CHECK(present_name(tickets) == first);
    tickets.tend(5 * hour);
    CHECK(tickets.due() == 9 * hour);
    const std::string second = present_name(tickets);
    CHECK(second != first);
    CHECK(age_of(tickets, first) == TlsTickets::Age::former);
    CHECK(age_of(tickets, second) == TlsTickets::Age::present);
    tickets.tend(5 * hour);  // another thread that saw the same
    CHECK(present_name(tickets) == second);
    tickets.tend(9 * hour + 1);
    CHECK(age_of(tickets, first) == TlsTickets::Age::none);
    CHECK(age_of(tickets, second) == TlsTickets::Age::former);
    // Where nobody looked for longer than a key is good, none of before is.
    const std::string third = present_name(tickets);
    tickets.tend(30 * hour);
    for (const std::string& name : {first, second, third}) {
        CHECK(age_of(tickets, name) == TlsTickets::Age::none);
    }
    CHECK(tickets.due() == 34 * hour);
    CHECK(age_of(tickets, std::string(TlsTickets::name_size, '\0')) == TlsTickets::Age::none);
}

TEST_CASE("tls tickets: clients resume with the last key and the one before, whatever is loaded") {
    const TempFolder folder(TempFolder::On::memory);
    const std::vector<wire::TlsPair> pairs{write_pair(folder, "a", make_certificate("DNS:a.test")),
                                           write_pair(folder, "b", make_certificate("DNS:b.test"))};
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        for (const char* name : {"a.test", "b.test"}) {
            CAPTURE(version);
            CAPTURE(name);
            const TlsClient::Options options{
                .version_min = version, .version_max = version, .name = name};
            TlsTickets tickets;
            tickets.tend(0);
            TlsContext context = context_with(tickets, pairs);
            Visit first(context, options);
            REQUIRE(first.client.session != nullptr);
            CHECK(!first.client.resumed());
            CHECK(Visit(context, options, first.client.session).client.resumed());

            context = context_with(tickets, pairs);  // as SIGHUP does
            CHECK(Visit(context, options, first.client.session).client.resumed());
            tickets.tend(4 * hour);
            Visit later(context, options, first.client.session);
            CHECK(later.client.resumed());
            CHECK(later.client.shown(name));
            SSL_SESSION* renewed = SSL_get_session(later.client.ssl());  // of the new key
            tickets.tend(8 * hour);
            CHECK(!Visit(context, options, first.client.session).client.resumed());
            CHECK(Visit(context, options, renewed).client.resumed());

            const TlsTickets others;
            const TlsContext strange = context_with(others, pairs);
            CHECK(!Visit(strange, options, renewed).client.resumed());
        }
    }
}

TEST_CASE("tls tickets: a client of TLS 1.3 that resumes gets another ticket") {
    const TempFolder folder(TempFolder::On::memory);
    TlsTickets tickets;
    const TlsContext context =
        context_with(tickets, {write_pair(folder, "a", make_certificate("DNS:a.test"))});
    const TlsClient::Options options{.version_min = TLS1_3_VERSION};
    Visit first(context, options);
    REQUIRE(first.client.session != nullptr);
    Visit second(context, options, first.client.session);
    CHECK(second.client.resumed());
    CHECK(second.client.session != nullptr);
}

TEST_CASE("tls tickets: of many threads that see it is time one changes the key") {
    for (int round = 0; round < 50; round++) {
        TlsTickets tickets;
        tickets.tend(0);
        const std::string first = present_name(tickets);
        std::atomic<int> missing{3};
        std::array<std::thread, 3> threads;
        for (std::thread& thread : threads) {
            thread = std::thread([&] {
                missing.fetch_sub(1);
                while (missing.load() > 0) {
                }
                tickets.tend(4 * hour);
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(tickets.due() == 8 * hour);
        CHECK(age_of(tickets, first) == TlsTickets::Age::former);
    }
}
