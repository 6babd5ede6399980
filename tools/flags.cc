#include "flags.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "payload.h"

namespace ringcast::tools {

namespace {

constexpr const char* examples =
    "Examples:\n"
    "  ringcast sub prices\n"
    "  ringcast pub prices '{\"eur\": 1.09}'\n"
    "  ringcast bench fanout --connections 1000 --rate 500 --duration 10 --check\n"
    "  ringcast bench idle --connections 10000 --server-pid 4711\n";

constexpr const char* subscribe_envelope =
    R"({"type":"subscribe","id":"{index}","topic":"{topic}"})";
constexpr const char* publish_envelope =
    R"({"type":"publish","id":"{seq}","topic":"{topic}","payload":"{payload}"})";

// Says what was given and what is allowed; CLI11 puts the flag in front.
CLI::Validator between(double low, double high, bool whole = true) {
    return CLI::Validator(
        [=](std::string& text) -> std::string {
            double value = 0;
            const char* end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, value);
            const bool number = error == std::errc{} && stop == end;
            const bool allowed = number && value >= low && value <= high &&
                                 (!whole || text.find_first_not_of("0123456789") == text.npos);
            if (allowed) return {};
            char line[160];
            std::snprintf(line,
                          sizeof line,
                          "'%.40s' given, %s from %.12g to %.12g allowed",
                          text.c_str(),
                          whole ? "a whole number" : "a number",
                          low,
                          high);
            return line;
        },
        "");
}

CLI::Validator websocket_url() {
    return CLI::Validator(
        [](std::string& text) -> std::string {
            Url url;
            if (parse_url(text, url)) return {};
            return "'" + text.substr(0, 80) + "' given, ws[s]://HOST[:PORT][/PATH] allowed";
        },
        "");
}

// Bounds, one place for all verbs.
constexpr double connections_max = 1'000'000;
constexpr double seconds_max = 86'400;
constexpr double count_max = 1e12;
constexpr double keyed_messages_max = 1e8;  // the checker remembers 48 bytes of each

void add_tls(CLI::App& app, TlsOptions& o) {
    app.add_option("--tls-ca", o.ca, "with wss://: PEM file of whom to trust, not the system's");
    app.add_flag("--insecure", o.insecure, "with wss://: trust anybody");
}

void add_common(CLI::App& app, BenchOptions& o) {
    app.add_option("--url", o.url_text, "where the server is")
        ->check(websocket_url())
        ->capture_default_str();
    add_tls(app, o.tls);
    app.add_option("-c,--connections", o.connections, "how many connections")
        ->check(between(1, connections_max))
        ->capture_default_str();
    app.add_option("--concurrency", o.concurrency, "handshakes in flight at a time")
        ->check(between(1, 100'000))
        ->capture_default_str();
    app.add_option("--sources", o.sources, "use source addresses 127.0.0.1 to 127.0.0.N")
        ->check(between(1, 250));
    app.add_option("--congestion", o.congestion, "TCP_CONGESTION of every socket, '' to leave it")
        ->capture_default_str();
    app.add_option("--server-pid", o.server_pid, "measure CPU and memory of this process")
        ->check(between(1, 1 << 22));
    app.add_option("--cpu", o.cpu, "run on this CPU only")->check(between(0, 1023));
    app.add_option("--json", o.json_file, "write every input and figure to this file");
    app.add_flag("-q,--quiet", o.quiet, "no progress");
}

void add_paths(CLI::App& app, BenchOptions& o) {
    app.add_option("--topic-prefix", o.topic_prefix, "topics are this and a number")
        ->capture_default_str();
    app.add_flag("--envelope", o.envelope, "speak the JSON envelope of /ws instead of /raw");
    app.add_option("--subscribe-path", o.subscribe_path, "{topic} is filled in")
        ->capture_default_str();
    app.add_option("--subscribe-message",
                   o.subscribe_message,
                   "sent by every subscriber; {topic} and {index} are filled in");
    app.add_option("--subscribe-reply",
                   o.subscribe_reply,
                   "a subscriber is ready when a message holds this text");
}

// What is published, and on how many topics.
void add_messages(CLI::App& app, BenchOptions& o) {
    app.add_option("-t,--topics", o.topics, "each has one publisher")
        ->check(between(1, 10'000))
        ->capture_default_str();
    app.add_option("-s,--size", o.size, "bytes of payload")
        ->check(between(payload_size_min, 16 << 20))
        ->capture_default_str();
}

void add_load(CLI::App& app, BenchOptions& o, std::string& rate) {
    add_messages(app, o);
    app.add_option("-r,--rate", rate, "messages a second in all, or max")->capture_default_str();
    app.add_option("--burst", o.burst, "messages published at once")
        ->check(between(1, 100'000))
        ->capture_default_str();
    app.add_option("--window",
                   o.window,
                   "with --rate max: published and not yet delivered to everybody, per topic")
        ->check(between(1, 1'000'000))
        ->capture_default_str();
    app.add_option("-m,--messages", o.messages, "stop after so many")->check(between(1, count_max));
    app.add_option("-d,--duration", o.duration_s, "seconds (10 if neither is given)")
        ->check(between(0.01, seconds_max, false));
    app.add_option("--warmup", o.warmup, "messages before the figures begin")
        ->check(between(0, count_max));
    app.add_option("--settle", o.settle_s, "seconds between connecting and publishing")
        ->check(between(0, seconds_max, false))
        ->capture_default_str();
    app.add_option("--grace", o.grace_s, "seconds without a delivery after which one is lost")
        ->check(between(0.1, seconds_max, false))
        ->capture_default_str();
}

void add_fanout(CLI::App& app, BenchOptions& o, std::string& rate) {
    add_common(app, o);
    add_paths(app, o);
    add_load(app, o, rate);
    app.add_option("--ramp", o.ramp, "new connections a second, 0: as fast as they succeed")
        ->check(between(0, 1e6, false));
    app.add_option("--publish-path", o.publish_path, "{topic} is filled in")->capture_default_str();
    app.add_option(
           "--publish-message", o.publish_message, "{payload}, {topic} and {seq} are filled in")
        ->capture_default_str();
    app.add_flag("--binary", o.binary, "binary messages instead of text");
    app.add_flag("--compress", o.compress, "subscribers ask for permessage-deflate");
    app.add_flag("--check", o.check, "exit code 3 unless everybody got everything, once, in order");
    app.add_flag("--spin", o.spin, "poll without sleeping while something is owed (with max: on)");
    app.add_option("--slow-readers", o.slow_percent, "percent of the subscribers")
        ->check(between(0, 100));
    app.add_option("--slow-rate", o.slow_rate, "bytes a second that a slow one reads")
        ->check(between(0, 1e12));
    app.add_option("--publish-url", o.publish_url_text, "where publishers go, if elsewhere")
        ->check(websocket_url());
    app.add_flag("--reconnect", o.reconnect, "subscribers that lost their connection come back");
    app.add_option("--back-within", o.back_within_s, "each after a random time of so many seconds")
        ->check(between(0, seconds_max, false));
    app.add_option("--storm-after", o.storm_after_s, "seconds until all subscribers are reset")
        ->check(between(0, seconds_max, false));
}

void add_other_benches(CLI::App& bench, BenchOptions& o) {
    CLI::App& connect =
        *bench.add_subcommand("connect", "connect, subscribe, close, again and again");
    add_common(connect, o);
    add_paths(connect, o);
    connect.add_flag("--abort", o.abort, "end with a reset instead of the closing handshake");
    CLI::App& idle = *bench.add_subcommand("idle", "what a subscriber costs that gets nothing");
    add_common(idle, o);
    add_paths(idle, o);
    idle.add_option("--ramp", o.ramp, "new connections a second, 0: as fast as they succeed")
        ->check(between(0, 1e6, false));
    idle.add_option("--hold", o.hold_s, "seconds to hold them")
        ->check(between(0, seconds_max, false))
        ->capture_default_str();
    CLI::App& echo = *bench.add_subcommand("echo", "round trips");
    add_common(echo, o);
    echo.add_option("--path", o.echo_path, "of the echo")->capture_default_str();
    echo.add_option("-s,--size", o.size, "bytes of payload")
        ->check(between(payload_size_min, 16 << 20))
        ->capture_default_str();
    echo.add_option("--inflight", o.inflight, "messages on the way, per connection")
        ->check(between(1, 1'000))
        ->capture_default_str();
    echo.add_option("-m,--messages", o.messages, "stop after so many")
        ->check(between(1, count_max));
    echo.add_option("-d,--duration", o.duration_s, "seconds (10 if neither is given)")
        ->check(between(0.01, seconds_max, false));
    echo.add_flag("--binary", o.binary, "binary messages instead of text");
    echo.add_flag("--check", o.check, "exit code 3 unless every echo is right");
}

void add_recover(CLI::App& app, BenchOptions& o, std::string& rate) {
    add_common(app, o);
    app.add_option("--topic-prefix", o.topic_prefix, "topics are this and a number")
        ->capture_default_str();
    add_messages(app, o);
    app.add_option("-r,--rate", rate, "messages a second in all")->required();
    app.add_option("-d,--duration", o.duration_s, "seconds of publishing (10)")
        ->check(between(0.01, seconds_max, false));
    app.add_option("--kills", o.kills, "of each connection a second, publishers too; 0: none")
        ->check(between(0, 100, false))
        ->capture_default_str();
    app.add_option("--back-within", o.back_within_s, "each after a random time of so many seconds")
        ->check(between(0, seconds_max, false));
    app.add_option("--silence", o.silence_s, "seconds without a word after which it is given up")
        ->check(between(0.1, seconds_max, false))
        ->capture_default_str();
    app.add_option("--grace", o.grace_s, "seconds in which nothing moves after which it is lost")
        ->check(between(0.1, seconds_max, false))
        ->capture_default_str();
}

void add_keyed(CLI::App& app, BenchOptions& o) {
    add_common(app, o);
    KeyedOptions& k = o.keyed;
    app.add_option("--topic", k.topic, "keyed by a rule of the server's")->capture_default_str();
    app.add_option("--keys", k.keys, "how many keys are updated")
        ->check(between(1, topics_max))
        ->capture_default_str();
    app.add_option("--slow", k.slow, "how many of the connections read slowly")
        ->check(between(0, connections_max))
        ->capture_default_str();
    app.add_option("--slow-rate", k.slow_rate, "bytes a second that a slow one reads")
        ->check(between(0, 1e12))
        ->capture_default_str();
    app.add_option("--publishers", k.publishers, "connections that publish")
        ->check(between(1, 1'000))
        ->capture_default_str();
    app.add_flag("--raw",
                 k.raw,
                 "the fast ones are on /raw: payloads of one publisher, on a topic that is new");
    app.add_option("-s,--size", k.size, "bytes of payload")
        ->check(between(payload_size_min, 65'536))
        ->capture_default_str();
    app.add_option("-r,--rate", k.rate, "updates a second in all")
        ->check(between(1e-3, 1e7, false))
        ->capture_default_str();
    app.add_option("-d,--duration", k.duration_s, "seconds of publishing")
        ->check(between(0.01, seconds_max, false))
        ->capture_default_str();
    app.add_flag("--compare", k.compare, "first as long without the slow ones");
    app.add_option("--grace", o.grace_s, "seconds in which nothing moves after which it is lost")
        ->check(between(0.1, seconds_max, false))
        ->capture_default_str();
}

void add_talk(CLI::App& app, TalkOptions& o) {
    app.add_option("--url", o.url_text, "where the server is")
        ->check(websocket_url())
        ->capture_default_str();
    add_tls(app, o.tls);
    app.add_option("--timeout", o.timeout_s, "seconds to wait for the server")
        ->check(between(0.1, seconds_max, false))
        ->capture_default_str();
}

void add_pub(CLI::App& app, TalkOptions& o, std::string& rate) {
    add_talk(app, o);
    o.topics.resize(1);
    app.add_option("TOPIC", o.topics[0], "where to")->required();
    CLI::Option* message = app.add_option("MESSAGE", o.message, "default: each line of stdin");
    app.add_option("-f,--file", o.file, "publish the contents of this file")->excludes(message);
    app.add_flag("--binary", o.binary, "binary messages instead of text");
    app.add_option("-r,--rate", rate, "lines of stdin a second, or max; default: what is allowed");
}

void add_sub(CLI::App& app, TalkOptions& o) {
    add_talk(app, o);
    app.add_option("TOPIC", o.topics, "one or more")->required();
    app.add_option("-n,--count", o.count, "leave after so many messages")
        ->check(between(1, count_max));
    CLI::Option* json =
        app.add_flag("--json", o.json, "print whole envelopes, with offsets, instead of payloads");
    app.add_option("--key-file",
                   o.key_file,
                   "open sealed payloads with these keys, and take no others: NAME ID KEY a line")
        ->excludes(json);
}

// A number, or "max": 0. Returns the complaint, if there is one.
std::string read_rate(std::string text, double& rate) {
    rate = 0;
    if (text == "max") return {};
    const std::string complaint = between(1e-3, 1e9, false)(text);
    if (!complaint.empty()) return "--rate: " + complaint + ", or max";
    std::from_chars(text.data(), text.data() + text.size(), rate);
    return {};
}

// What cannot be meant by several flags together. Returns the complaint, if there is one.
std::string contradiction(const BenchOptions& o) {
    if (o.rate <= 0 && o.burst > o.window) {
        return "--burst: '" + std::to_string(o.burst) + "' given, at most --window (" +
               std::to_string(o.window) + ") allowed";
    }
    if (o.topics > o.connections) {
        return "--topics: '" + std::to_string(o.topics) + "' given, at most --connections (" +
               std::to_string(o.connections) + ") allowed: each needs a reader";
    }
    if (o.binary && o.envelope) return "--binary: not with --envelope, which is text";
    if (o.storm_after_s > 0 && o.messages > 0) return "--storm-after needs --duration";
    if (!o.reconnect) return {};
    if (o.rate <= 0) return "--reconnect needs a --rate";
    if (o.slow_percent > 0) return "--reconnect excludes --slow-readers";
    return o.envelope ? "" : "--reconnect needs --envelope";
}

// What follows from several flags together, where nothing else was said.
void fill_in(BenchOptions& o) {
    if (o.rate <= 0) o.spin = true;
    if (o.messages == 0 && o.duration_s <= 0) o.duration_s = 10;
    if (o.sources == 0) o.sources = (o.connections + 19'999) / 20'000;
    if (!o.envelope) return;
    const BenchOptions defaults;
    if (o.subscribe_path == defaults.subscribe_path) o.subscribe_path = "/ws";
    if (o.publish_path == defaults.publish_path) o.publish_path = "/ws";
    if (o.subscribe_message.empty()) o.subscribe_message = subscribe_envelope;
    if (o.subscribe_reply.empty()) o.subscribe_reply = "\"subscribed\"";
    if (o.publish_message == defaults.publish_message) o.publish_message = publish_envelope;
}

// Returns the complaint, if there is one.
std::string complete(BenchOptions& o, const std::string& rate) {
    std::string complaint = read_rate(rate, o.rate);
    if (!complaint.empty()) return complaint;
    if (o.storm_after_s > 0) o.reconnect = true;
    complaint = contradiction(o);
    if (complaint.empty()) fill_in(o);
    return complaint;
}

// Killed sockets leave their ports in TIME_WAIT, so they need many. Returns the complaint, if there
// is one.
std::string complete_recover(BenchOptions& o) {
    constexpr std::uint32_t connections_per_source = 250;
    if (o.rate <= 0) return "--rate: 'max' given, a number allowed";
    const double between_messages_s = o.topics / o.rate;
    if (2 * between_messages_s > o.silence_s) {
        char line[120];
        std::snprintf(line,
                      sizeof line,
                      "--silence: '%g' given, but a topic has a message every %g seconds: at least "
                      "twice that",
                      o.silence_s,
                      between_messages_s);
        return line;
    }
    o.sources = std::max(o.sources, std::min(o.connections / connections_per_source + 1, 250U));
    return {};
}

// Returns the complaint, if there is one.
std::string complete_keyed(const BenchOptions& o) {
    const KeyedOptions& k = o.keyed;
    if (k.slow >= o.connections) {
        return "--slow: '" + std::to_string(k.slow) + "' given, less than --connections (" +
               std::to_string(o.connections) + ") allowed";
    }
    if (k.raw && k.publishers != 1) {
        return "--publishers: with --raw there is one: payloads have no offsets, and show their "
               "order only so";
    }
    const double messages = k.rate * k.duration_s * (k.compare ? 2 : 1);
    if (messages <= keyed_messages_max) return {};
    char line[120];
    std::snprintf(line,
                  sizeof line,
                  "--duration: these are %.12g updates, at most %.12g allowed",
                  messages,
                  keyed_messages_max);
    return line;
}

Verb verb_of(const CLI::App& app) {
    if (app.got_subcommand("pub")) return Verb::pub;
    if (app.got_subcommand("sub")) return Verb::sub;
    const CLI::App& bench = *app.get_subcommand("bench");
    if (bench.got_subcommand("fanout")) return Verb::bench_fanout;
    if (bench.got_subcommand("connect")) return Verb::bench_connect;
    if (bench.got_subcommand("idle")) return Verb::bench_idle;
    if (bench.got_subcommand("recover")) return Verb::bench_recover;
    if (bench.got_subcommand("keyed")) return Verb::bench_keyed;
    return Verb::bench_echo;
}

void parse(int argc, const char* const* argv, Flags& flags) {
    BenchOptions& bench = flags.options.bench;
    TalkOptions& talk = flags.options.talk;
    TalkOptions publishing;
    std::string rate = "max";
    std::string pub_rate;
    CLI::App app("ringcast: talk to a ringcast server, and measure it", "ringcast");
    app.footer(examples);
    app.set_version_flag("--version", "ringcast " RINGCAST_VERSION);
    app.require_subcommand(1);
    CLI::App& benches = *app.add_subcommand("bench", "measure a server under load");
    benches.require_subcommand(1);
    add_fanout(*benches.add_subcommand("fanout", "publish to many subscribers"), bench, rate);
    add_other_benches(benches, bench);
    add_recover(*benches.add_subcommand("recover", "lose connections and come back"), bench, rate);
    add_keyed(*benches.add_subcommand("keyed", "the latest of each key, to fast and slow"), bench);
    CLI::App& pub = *app.add_subcommand("pub", "publish a message, a file or the lines of stdin");
    add_pub(pub, publishing, pub_rate);
    add_sub(*app.add_subcommand("sub", "print what is published"), talk);
    try {
        app.parse(argc, argv);
        flags.options.verb = verb_of(app);
        if (flags.options.verb == Verb::pub) {
            talk = publishing;
            talk.has_message = pub.get_option("MESSAGE")->count() > 0;
        }
        std::string complaint = complete(bench, rate);
        if (complaint.empty() && flags.options.verb == Verb::bench_recover) {
            complaint = complete_recover(bench);
        }
        if (complaint.empty() && flags.options.verb == Verb::bench_keyed) {
            complaint = complete_keyed(bench);
        }
        if (complaint.empty() && !pub_rate.empty()) complaint = read_rate(pub_rate, talk.rate);
        if (!complaint.empty()) throw CLI::ValidationError(complaint, CLI::ExitCodes::BaseClass);
    } catch (const CLI::CallForHelp&) {
        flags.leave = true;
        flags.message = app.help();
    } catch (const CLI::CallForVersion& version) {
        flags.leave = true;
        flags.message = std::string(version.what()) + "\n";
    } catch (const CLI::ParseError& error) {
        flags.leave = true;
        flags.exit_code = exit_usage;
        flags.message = "ringcast: " + std::string(error.what()) + "\n";
    }
    if (bench.publish_url_text.empty()) bench.publish_url_text = bench.url_text;
    static_cast<void>(parse_url(bench.url_text, bench.url));  // checked above
    static_cast<void>(parse_url(bench.publish_url_text, bench.publish_url));
    static_cast<void>(parse_url(talk.url_text, talk.url));
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what is not a ParseError is a bug, and ends it all.
Flags parse_flags(int argc, const char* const* argv) noexcept {
    Flags flags;
    parse(argc, argv, flags);
    return flags;
}

}  // namespace ringcast::tools
