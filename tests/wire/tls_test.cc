#include "wire/tls.h"

#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/tls.h"

using namespace ringcast;
using ringcast::test::load;
using ringcast::test::make_certificate;
using ringcast::test::one_context;
using ringcast::test::PemPair;
using ringcast::test::TempFolder;
using ringcast::test::TlsClient;
using ringcast::test::write_file;
using ringcast::test::write_pair;
using wire::TlsContext;
using wire::TlsFilter;
using wire::TlsPair;
using wire::TlsStage;

namespace {

// A filter with what it heard, and what it has for its peer.
struct Host {
    explicit Host(const TlsContext& context) : filter(context) {}

    void feed(std::string_view ciphertext) {
        std::array<std::byte, 16384> target{};
        Bytes rest = as_bytes(ciphertext);
        std::size_t size = 0;
        do {
            size = filter.receive(rest, target, out);
            heard += as_text(Bytes(target).first(size));
        } while (size == target.size());
        CHECK(rest.empty());
    }
    void say(std::string_view plaintext) { REQUIRE(filter.send(as_bytes(plaintext), out)); }
    [[nodiscard]] std::string take() { return std::string(as_text(std::exchange(out, {}))); }

    TlsFilter filter;
    std::string heard;
    std::vector<std::byte> out;
};

// Until neither has anything to say.
void talk(TlsClient& client, Host& host) {
    client.feed("");
    for (std::string said = client.take(); !said.empty(); said = client.take()) {
        host.feed(said);
        client.feed(host.take());
    }
    client.feed(host.take());
}

struct Meeting {
    explicit Meeting(const TlsContext& context,
                     const TlsClient::Options& options = {},
                     SSL_SESSION* session = nullptr)
        : client(options, session), host(context) {
        talk(client, host);
    }
    [[nodiscard]] bool open() const {
        return client.open() && host.filter.stage() == TlsStage::open;
    }

    TlsClient client;
    Host host;
};

}  // namespace

TEST_CASE("tls: AEAD suites with ephemeral keys are spoken, by 1.2 and 1.3, and no others") {
    struct Row {
        int version;
        const char* suite;
        bool ec;  // with a certificate that has such a key
        bool rsa;
    };
    constexpr const char* older = "ALL:@SECLEVEL=0";
    const std::array<Row, 20> rows{{
        {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", true, true},
        {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", true, true},
        {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", true, true},
        {TLS1_3_VERSION, "TLS_AES_128_CCM_SHA256", false, false},
        {TLS1_3_VERSION, "TLS_AES_128_CCM_8_SHA256", false, false},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true, false},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", true, false},
        {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", true, false},
        {TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", false, true},
        {TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384", false, true},
        {TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305", false, true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", false, false},
        {TLS1_2_VERSION, "ECDHE-RSA-AES256-SHA384", false, false},
        {TLS1_2_VERSION, "ECDHE-RSA-AES128-SHA", false, false},
        {TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", false, false},
        {TLS1_2_VERSION, "AES128-GCM-SHA256", false, false},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-CCM", false, false},
        {TLS1_2_VERSION, "aNULL", false, false},
        {TLS1_1_VERSION, older, false, false},
        {TLS1_VERSION, older, false, false},
    }};
    for (const bool rsa : {false, true}) {
        const TlsContext context = one_context(rsa ? "RSA" : "EC");
        for (const Row& row : rows) {
            CAPTURE(row.suite);
            CAPTURE(row.version);
            const bool newest = row.version == TLS1_3_VERSION;
            Meeting meeting(context,
                            {.version_min = row.version,
                             .version_max = row.version,
                             .ciphers = newest ? nullptr : row.suite,
                             .suites = newest ? row.suite : nullptr});
            CHECK(meeting.open() == (rsa ? row.rsa : row.ec));
            if (!meeting.open()) {
                CHECK(meeting.host.filter.stage() == TlsStage::failed);
                CHECK(meeting.client.failed);
                continue;
            }
            CHECK(meeting.client.suite() == row.suite);
        }
    }
}

TEST_CASE("tls: X25519 and P-256 are the groups, http/1.1 is the protocol") {
    // In TLS 1.2 the key of an EC certificate has to be of one of these groups, too.
    const TlsContext context = one_context("RSA");
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        for (const std::pair<const char*, bool>& each : {std::pair("X25519", true),
                                                         std::pair("P-256", true),
                                                         std::pair("P-384", false),
                                                         std::pair("X448", false),
                                                         std::pair("P-521:X25519", true)}) {
            const char* group = each.first;
            CAPTURE(std::string(group));
            CHECK(
                Meeting(context, {.version_min = version, .version_max = version, .groups = group})
                    .open() == each.second);
        }
        for (const std::pair<std::string_view, const char*>& each :
             {std::pair<std::string_view, const char*>("", ""),
              {"\x08http/1.1", "http/1.1"},
              {"\x02h2\x08http/1.1", "http/1.1"},
              {"\x02h2", nullptr},
              {"\x08http/1.0", nullptr}}) {
            const auto [offered, chosen] = each;
            CAPTURE(std::string(each.first));
            Meeting meeting(context,
                            {.version_min = version, .version_max = version, .protocols = offered});
            CHECK(meeting.open() == (chosen != nullptr));
            if (chosen != nullptr) {
                CHECK(meeting.client.protocol() == chosen);
            } else {
                CHECK(meeting.client.alert == SSL_AD_NO_APPLICATION_PROTOCOL);
            }
        }
    }
}

TEST_CASE("tls: plaintext goes both ways, of any size") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        Meeting meeting(one_context(), {.version_min = version, .version_max = version});
        REQUIRE(meeting.open());
        CHECK(meeting.host.heard.empty());
        for (const std::size_t size : {1UL, 2UL, 16383UL, 16384UL, 16385UL, 100'000UL}) {
            CAPTURE(size);
            const std::string text(size, 'x');
            meeting.client.say(text);
            meeting.host.feed(meeting.client.take());
            CHECK(std::exchange(meeting.host.heard, {}) == text);
            meeting.host.say(text);
            const std::string records = meeting.host.take();
            const std::size_t count = (size + wire::tls_record_max - 1) / wire::tls_record_max;
            CHECK(records.size() <= size + count * wire::tls_record_overhead);
            meeting.client.feed(records);
            CHECK(std::exchange(meeting.client.heard, {}) == text);
        }
    }
}

TEST_CASE("tls: wherever its bytes are cut, a conversation is the same") {
    const TlsContext context = one_context();
    Random random(7);
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        for (int round = 0; round < 12; round++) {
            CAPTURE(round);
            TlsClient client({.version_min = version, .version_max = version});
            Host host(context);
            // By bytes, or in pieces of any size.
            const auto deliver = [&](std::string_view said) {
                while (!said.empty()) {
                    const std::size_t size = round == 0 ? 1 : random.between(1, said.size());
                    host.feed(said.substr(0, size));
                    said.remove_prefix(size);
                }
            };
            client.feed("");
            for (int flight = 0; flight < 4; flight++) {
                deliver(client.take());
                client.feed(host.take());
            }
            REQUIRE(client.open());
            REQUIRE(host.filter.stage() == TlsStage::open);
            client.say("one");
            client.say(std::string(20'000, '2'));
            client.close();
            deliver(client.take());
            CHECK(host.heard == "one" + std::string(20'000, '2'));
            CHECK(host.filter.stage() == TlsStage::ended);
            host.say("still");  // RFC 8446, 6.1: only one direction is closed
            host.filter.close(host.out);
            client.feed(host.take());
        }
    }
}

TEST_CASE("tls: close_notify comes once, and only of what was open") {
    const TlsContext context = one_context();
    Meeting meeting(context);
    REQUIRE(meeting.open());
    meeting.host.filter.close(meeting.host.out);
    const std::string said = meeting.host.take();
    CHECK(!said.empty());
    meeting.host.filter.close(meeting.host.out);
    CHECK(meeting.host.out.empty());
    meeting.client.feed(said);
    CHECK(meeting.client.ended);
    CHECK(!meeting.client.failed);
    Host fresh(context);
    fresh.filter.close(fresh.out);
    CHECK(fresh.out.empty());
}

TEST_CASE("tls: garbage, records that were changed and records that are cut") {
    const TlsContext context = one_context();
    for (const std::string_view garbage : {std::string_view("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                                           std::string_view("\x16\x03\x01\xff\xff", 5),
                                           std::string_view("\x15\x03\x03\x00\x02\x02\x28", 7),
                                           std::string_view("\x17\x03\x03\x00\x01x", 6),
                                           std::string_view("\0\0\0\0\0\0\0\0", 8)}) {
        CAPTURE(garbage);
        Host host(context);
        host.feed(garbage);
        CHECK(host.filter.stage() == TlsStage::failed);
        host.feed(garbage);  // nothing more happens
        CHECK(host.heard.empty());
    }
    Host cut(context);
    cut.feed(std::string_view("\x16\x03\x01\x02\x00\x01", 6));
    CHECK(cut.filter.stage() == TlsStage::shaking);

    for (std::size_t at = 0; at < 30; at++) {
        CAPTURE(at);
        Meeting meeting(context);
        REQUIRE(meeting.open());
        meeting.client.say("hello");
        std::string record = meeting.client.take();
        if (at < record.size()) record[at] = static_cast<char>(record[at] ^ 0x40);
        meeting.host.feed(record);
        CHECK(meeting.host.heard == (at < record.size() ? "" : "hello"));
        if (at >= record.size()) continue;
        const bool longer = at == 3 && meeting.host.filter.stage() == TlsStage::open;
        const bool waits = at == 4 && meeting.host.filter.stage() == TlsStage::open;
        CHECK((meeting.host.filter.stage() == TlsStage::failed || longer || waits));
    }
}

TEST_CASE("tls: nobody may say more than a hello before it is open") {
    Host host(one_context());
    const std::string record = std::string("\x16\x03\x01\x40\x00\x01\x01\xff\xff", 9);
    host.feed(record);
    for (std::size_t said = record.size(); said < wire::tls_hello_size_max; said += 4096) {
        host.feed(std::string(4096, '\x16'));
    }
    CHECK(host.filter.stage() == TlsStage::failed);
}

TEST_CASE("tls: there is no renegotiation") {
    Meeting meeting(one_context(), {.version_max = TLS1_2_VERSION});
    REQUIRE(meeting.open());
    REQUIRE(SSL_renegotiate(meeting.client.ssl()) == 1);
    SSL_do_handshake(meeting.client.ssl());
    meeting.host.feed(meeting.client.take());
    meeting.client.feed(meeting.host.take());
    CHECK(meeting.client.alert == SSL_AD_NO_RENEGOTIATION);
    CHECK(meeting.host.filter.stage() != TlsStage::shaking);
}

TEST_CASE("tls: new keys are taken and given, but not a flood of them") {
    for (const int count : {1, 10, 100}) {
        for (const int kind : {SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_NOT_REQUESTED}) {
            CAPTURE(count);
            Meeting meeting(one_context());
            REQUIRE(meeting.open());
            for (int i = 0; i < count; i++) {
                REQUIRE(SSL_key_update(meeting.client.ssl(), kind) == 1);
                SSL_do_handshake(meeting.client.ssl());
            }
            meeting.client.say("still here");
            meeting.host.feed(meeting.client.take());
            CHECK(meeting.host.out.size() < 1024);
            if (count == 100) {
                CHECK(meeting.host.filter.stage() == TlsStage::failed);
                CHECK(meeting.host.heard.empty());
                continue;
            }
            CHECK(meeting.host.heard == "still here");
            meeting.host.say("so am I");
            meeting.client.feed(meeting.host.take());
            CHECK(meeting.client.heard == "so am I");
        }
    }
}

TEST_CASE("tls: the name that a client asks for chooses the certificate") {
    const TempFolder folder(TempFolder::On::memory);
    const std::vector<TlsPair> pairs{
        write_pair(folder, "a", make_certificate("DNS:a.test,DNS:also.test")),
        write_pair(folder, "b", make_certificate("DNS:*.b.test", "RSA")),
        write_pair(folder, "c", make_certificate("DNS:c.test"))};
    struct Row {
        const char* asked;
        const char* shown;  // null: refused
    };
    for (const Row& row : std::array<Row, 11>{{{nullptr, "a.test"},
                                               {"a.test", "a.test"},
                                               {"A.TEST", "a.test"},
                                               {"also.test", "a.test"},
                                               {"x.b.test", "x.b.test"},
                                               {"c.test", "c.test"},
                                               {"b.test", nullptr},
                                               {"x.y.b.test", nullptr},
                                               {"d.test", nullptr},
                                               {"a.test.d", nullptr},
                                               {"", "a.test"}}}) {
        for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
            CAPTURE(std::string(row.asked == nullptr ? "-" : row.asked));
            const char* asked = row.asked != nullptr && *row.asked == '\0' ? nullptr : row.asked;
            Meeting meeting(load(pairs),
                            {.version_min = version, .version_max = version, .name = asked});
            CHECK(meeting.open() == (row.shown != nullptr));
            if (row.shown != nullptr) {
                CHECK(meeting.client.shown(row.shown));
            } else {
                CHECK(meeting.client.alert == SSL_AD_UNRECOGNIZED_NAME);
            }
        }
    }
    // With one certificate names choose nothing.
    Meeting single(load({pairs[2]}), {.name = "d.test"});
    CHECK(single.open());
    CHECK(single.client.shown("c.test"));
}

TEST_CASE("tls: a ticket resumes, with the context that gave it") {
    const TempFolder folder(TempFolder::On::memory);
    const std::vector<TlsPair> pairs{write_pair(folder, "a", make_certificate("DNS:a.test")),
                                     write_pair(folder, "b", make_certificate("DNS:b.test"))};
    const TlsContext context = load(pairs);
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        for (const char* name : {"a.test", "b.test"}) {
            CAPTURE(name);
            const TlsClient::Options options{
                .version_min = version, .version_max = version, .name = name};
            Meeting first(context, options);
            REQUIRE(first.open());
            CHECK(!first.host.filter.resumed());
            REQUIRE(first.client.session != nullptr);
            Meeting second(context, options, first.client.session);
            REQUIRE(second.open());
            CHECK(second.client.resumed());
            CHECK(second.host.filter.resumed());
            CHECK(second.client.shown(name));

            const TlsContext other = load(pairs);
            Meeting third(other, options, first.client.session);
            REQUIRE(third.open());
            CHECK(!third.client.resumed());
            CHECK(third.client.shown(name));
        }
    }
}

TEST_CASE("tls: connections keep their context, whatever comes after it") {
    const TempFolder folder(TempFolder::On::memory);
    const std::vector<TlsPair> pairs{write_pair(folder, "a", make_certificate("DNS:a.test")),
                                     write_pair(folder, "b", make_certificate("DNS:b.test"))};
    auto context = std::make_unique<TlsContext>(load(pairs));
    TlsContext shared = context->share();
    TlsClient client({.name = "b.test"});
    Host host(*context);
    client.feed("");
    context.reset();
    shared = one_context();
    talk(client, host);  // chooses among certificates that nobody else has any more
    CHECK(client.open());
    CHECK(client.shown("b.test"));
    client.say("x");
    host.feed(client.take());
    CHECK(host.heard == "x");
}

TEST_CASE("tls: what cannot be loaded is one line that names the file") {
    const TempFolder folder(TempFolder::On::memory);
    const PemPair good = make_certificate("DNS:a.test");
    const TlsPair right = write_pair(folder, "right", good);
    const TlsPair other = write_pair(folder, "other", make_certificate("DNS:a.test"));
    const TlsPair rsa = write_pair(folder, "rsa", make_certificate("DNS:a.test", "RSA"));
    write_file(folder.file("empty"), "");
    write_file(folder.file("noise"), std::string(5000, '\xff'));
    write_file(folder.file("locked"),
               "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
               "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjyQK+ttP8kHAICCAAw\n"
               "-----END ENCRYPTED PRIVATE KEY-----\n");
    struct Row {
        TlsPair pair;
        std::string named;
        const char* what;
    };
    const std::string missing = folder.file("missing");
    for (const Row& row : std::vector<Row>{
             {{missing, right.key}, missing, "cannot be read"},
             {{right.certificate, missing}, missing, "cannot be read"},
             {{folder.file("empty"), right.key}, "empty", "no PEM certificate"},
             {{folder.file("noise"), right.key}, "noise", "no PEM certificate"},
             {{right.key, right.key}, right.key, "no PEM certificate"},
             {{right.certificate, right.certificate}, right.certificate, "no PEM private key"},
             {{right.certificate, folder.file("locked")}, "locked", "password"},
             {{right.certificate, other.key}, other.key, "not the key of"},
             {{right.certificate, rsa.key}, rsa.key, "not the key of"},
             {{rsa.certificate, right.key}, rsa.certificate, "not the key of"}}) {
        CAPTURE(row.named);
        std::string problem;
        const std::vector<TlsPair> pairs{right, row.pair};
        CHECK(!TlsContext::load(pairs, problem).ok());
        CHECK(problem.find(row.named) != std::string::npos);
        CHECK(problem.find(row.what) != std::string::npos);
        CHECK(problem.find('\n') == std::string::npos);
    }
    std::string problem;
    CHECK(TlsContext::load(std::vector<TlsPair>{right, rsa}, problem).ok());
    CHECK(problem.empty());
}
