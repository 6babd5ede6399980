#include "node/inflation.h"

#include <map>
#include <string>

#include "tests/node/cluster.h"
#include "tests/support/inflate.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;
using ringcast::test::Compressor;

namespace {

constexpr SharedDeflate no_context{.agreed = true,
                                   .server_window_bits = 15,
                                   .client_window_bits = 15};
constexpr SharedDeflate with_context{.agreed = true,
                                     .keeps_context = true,
                                     .server_window_bits = 15,
                                     .client_window_bits = 12};

std::string inflated(Inflation& inflation,
                     io::ConnIndex conn,
                     const SharedDeflate& terms,
                     const std::string& message,
                     std::size_t size_max = 1000) {
    Bytes plain;
    const wire::Inflated result =
        inflation.inflate(conn, terms, as_bytes(message), size_max, plain);
    std::string text = result == wire::Inflated::whole ? std::string(as_text(plain)) : "?";
    inflation.done();
    return text;
}

Config config_with(bool context) {
    Config config = open_config();
    config.compression = true;
    config.compression_context = context;
    config.message_max = 1000;
    config.messages_per_second = 0;
    return config;
}

// Ten messages a second, and twenty at once.
Config config_with_rate() {
    Config config = config_with(false);
    config.message_max = 64 * units::kib;
    config.messages_per_second = 10;
    config.messages_burst = 20;
    return config;
}

// With so many empty blocks in front, of ten bits each; a multiple of four.
std::string in_blocks(std::size_t count, const std::string& text) {
    std::string message;
    for (std::size_t i = 0; i < count; i += 4) {
        message.append("\x02\x08\x20\x80\x00", 5);
    }
    return message + Compressor().message(text);
}

std::string compressed_frame(Op op, const std::string& message) {
    return client_frame(op, message, true, 4);
}

}  // namespace

TEST_CASE("inflation: one stream serves all who keep no context, and each who does has its own") {
    for (const std::uint64_t message_max : {1000UL, 200'000UL}) {
        Config config;
        config.message_max = message_max;
        Inflation inflation(config);
        Compressor first(12);
        Compressor second(12);
        for (int turn = 0; turn < 20; turn++) {
            const std::string text = "turn " + std::to_string(turn) + std::string(200, 'x');
            CHECK(inflated(inflation, 1, with_context, first.message(text)) == text);
            CHECK(inflated(inflation, 7, no_context, Compressor().message(text)) == text);
            CHECK(inflated(inflation, 2, with_context, second.message(text)) == text);
            CHECK(inflated(inflation, 8, no_context, "\xff") == "?");
        }
        inflation.forget(1);
        inflation.forget(3);
        CHECK(inflated(inflation, 2, with_context, second.message("second")) == "second");
        CHECK(inflated(inflation, 1, with_context, Compressor(12).message("new")) == "new");
        CHECK(inflated(inflation,
                       9,
                       no_context,
                       Compressor().message(std::string(message_max, 'x')),
                       message_max)
                  .size() == message_max);
        CHECK(inflated(inflation,
                       9,
                       no_context,
                       Compressor().message(std::string(message_max + 1, 'x'))) == "?");
    }
}

TEST_CASE("inflation: what a client says compressed is what it says") {
    for (const bool context : {false, true}) {
        Cluster cluster(config_with(context));
        Client& client = cluster.connect("/ws", 0, "permessage-deflate; client_max_window_bits");
        const bool told = client.peer.head.find("client_no_context_takeover") != std::string::npos;
        CHECK(told != context);
        static_cast<void>(client.take());
        Client& reader = cluster.greet();
        reader.say(R"({"type":"subscribe","topic":"a"})");
        cluster.settle();
        static_cast<void>(reader.take());
        Compressor shared(12);
        for (int i = 0; i < 10; i++) {
            const std::string text = R"({"type":"publish","topic":"a","payload":"number )" +
                                     std::to_string(i) + R"( of ten"})";
            const std::string message = context ? shared.message(text) : Compressor().message(text);
            client.socket->say_split(compressed_frame(Op::text, message), cluster.random);
            cluster.settle();
            CHECK(reader.take_one().find("number " + std::to_string(i)) != std::string::npos);
        }
    }
}

TEST_CASE("inflation: what is wrong with a compressed message ends the connection") {
    struct Row {
        const char* name;
        std::string frame;
        std::uint16_t code;
    };
    const std::string large = Compressor(15, 9).message(std::string(1 << 20, ' '));
    const Row rows[] = {
        {"nonsense", compressed_frame(Op::text, "\xff\xff"), 1007},
        {"cut", compressed_frame(Op::text, "\xf2\x48"), 1007},
        {"no text", compressed_frame(Op::text, Compressor().message("\xff")), 1007},
        {"a bomb as large as a message may be", compressed_frame(Op::text, large), 1009},
        {"one octet too many",
         compressed_frame(Op::text, Compressor().message(std::string(1001, ' '))),
         1009},
        {"larger than what is compressed may be",
         compressed_frame(Op::text, std::string(compressed_size_max(1000) + 1, 'x')),
         1009},
        {"binary", compressed_frame(Op::binary, Compressor().message("a")), 1003},
        {"in too many blocks",
         compressed_frame(Op::text, in_blocks(280, R"({"type":"ping"})")),
         1008},
    };
    Cluster cluster(config_with(true));
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Client& client = cluster.connect("/ws", 0, "permessage-deflate");
        client.socket->say(row.frame);
        client.say(R"({"type":"ping"})");
        cluster.settle();
        CHECK(client.close_code() == row.code);
    }
}

TEST_CASE("inflation: what a message becomes counts against the rate, refused or not") {
    Cluster cluster(config_with_rate());
    Client& client = cluster.connect("/ws", 0, "permessage-deflate");
    static_cast<void>(client.take());
    const std::string large = compressed_frame(
        Op::text, Compressor().message(R"({"type":"ping","id":"p"})" + std::string(60'000, ' ')));
    CHECK(large.size() < 200);
    std::map<std::string, int> answers;
    for (int i = 0; i < 10; i++)
        client.socket->say(large);  // four each
    cluster.settle();
    for (const Frame& frame : client.take())
        answers[Json(frame.payload).text("type")]++;
    CHECK(answers["pong"] == 5);
    CHECK(answers["error"] == 5);
    CHECK(client.close_code() == 0);
    cluster.advance(5 * nanos_per_s);
    client.socket->say(large);
    cluster.settle();
    CHECK(Json(client.take_one()).text("type") == "pong");
    // Each refused one counts four: 250 are enough.
    for (int i = 0; i < 260; i++)
        client.socket->say(large);
    cluster.settle();
    CHECK(client.close_code() == 4029);
}

TEST_CASE("inflation: so do its blocks, each of which is work whatever comes of it") {
    Cluster cluster(config_with_rate());
    Client& client = cluster.connect("/ws", 0, "permessage-deflate");
    static_cast<void>(client.take());
    const auto answer = [&](const std::string& frame) {
        client.socket->say(frame);
        cluster.settle();
        return Json(client.take_one()).text("type");
    };
    const std::string ping = R"({"type":"ping","id":"p"})";
    const std::string plain = client_frame(Op::text, ping);
    // As few as any compressor makes are nothing more.
    for (int i = 0; i < 10; i++) {
        CHECK(answer(compressed_frame(Op::text, in_blocks(4, ping))) == "pong");
    }
    CHECK(answer(plain) == "pong");
    cluster.advance(3 * nanos_per_s);
    // A thousand, of 1,250 octets, are as much as a MiB.
    const std::string tiny = compressed_frame(Op::text, in_blocks(1000, ping));
    CHECK(tiny.size() < 1300);
    const std::size_t more = 1000 * inflated_block_weight / (16 * units::kib);
    CHECK(answer(tiny) == "pong");
    CHECK(answer(plain) == "error");
    cluster.advance((more - 30) * nanos_per_s / 10);
    CHECK(answer(plain) == "error");
    cluster.advance(3 * nanos_per_s);
    CHECK(answer(plain) == "pong");
    // What is refused costs as much to inflate.
    for (int i = 0; i < 20; i++) {
        client.socket->say(tiny);
    }
    cluster.settle();
    CHECK(client.close_code() == 4029);
}

TEST_CASE("inflation: a context is counted, and gone with its client") {
    Cluster cluster(config_with(true));
    Client& client = cluster.connect("/ws", 0, "permessage-deflate");
    Compressor compressor;
    client.socket->say(compressed_frame(Op::text, compressor.message(R"({"type":"ping"})")));
    cluster.settle();
    CHECK(Json(client.take().back().payload).text("type") == "pong");
    client.socket->reset();
    cluster.settle();
    // The next one on that connection index begins anew: its predecessor's context is no help.
    Client& next = cluster.connect("/ws", 0, "permessage-deflate");
    static_cast<void>(next.take());
    CHECK(next.socket->conn == client.socket->conn);
    next.socket->say(compressed_frame(Op::text, compressor.message(R"({"type":"ping"})")));
    cluster.settle();
    CHECK(next.close_code() == 1007);
}
