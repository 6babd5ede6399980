#pragma once

// What the command line says, as plain structs. Filled in by flags.cc, the only file that knows
// CLI11; every verb gets just the struct it needs.

#include <cstdint>
#include <string>
#include <vector>

#include "url.h"

namespace ringcast::tools {

enum ExitCode : int { exit_ok = 0, exit_failed = 1, exit_usage = 2, exit_check_failed = 3 };

enum class Verb : std::uint8_t {
    none,
    bench_fanout,
    bench_connect,
    bench_idle,
    bench_echo,
    bench_recover,
    bench_keyed,
    pub,
    sub
};

struct TlsOptions {         // for wss://
    std::string ca;         // PEM file of what is trusted; empty: what the system trusts
    bool insecure = false;  // any certificate will do
};

struct KeyedOptions {  // what `bench keyed` has beside or instead of the rest
    std::string topic = "bench.keyed";
    std::uint32_t keys = 1000;
    std::uint32_t slow = 200;        // of the connections
    std::uint64_t slow_rate = 1000;  // bytes a second that each of them reads
    std::uint32_t publishers = 4;
    std::uint64_t size = 32;  // bytes of payload
    double rate = 50'000;     // updates a second in all
    double duration_s = 10;
    bool compare = false;  // first as long without the slow ones
    bool raw = false;      // the fast ones are on /raw: payloads only
};

struct BenchOptions {
    std::string url_text = "ws://127.0.0.1:8080";
    Url url;
    TlsOptions tls;
    // Who.
    std::uint32_t connections = 1000;
    std::uint32_t concurrency = 256;
    double ramp = 0;
    std::uint32_t sources = 0;  // 0: one per 20,000 connections
    std::string congestion = "cubic";
    std::uint32_t slow_percent = 0;
    std::uint64_t slow_rate = 0;
    bool reconnect = false;  // subscribers that lost their connection come back
    double back_within_s = 0;
    double storm_after_s = 0;  // into the run, 0: never
    double kills = 1;          // of each connection a second (recover)
    double silence_s = 3;      // after which a connection is given up (recover)
    std::string publish_url_text;
    Url publish_url;
    // What.
    std::uint32_t topics = 1;
    std::string topic_prefix = "bench.";
    std::uint64_t size = 256;
    double rate = 0;  // messages a second in all; 0: as fast as the window allows
    std::uint32_t burst = 1;
    std::uint64_t window = 64;
    std::uint64_t messages = 0;
    double duration_s = 0;
    std::uint64_t warmup = 0;
    double settle_s = 0.2;
    double grace_s = 5;
    bool binary = false;
    bool envelope = false;
    bool compress = false;  // subscribers ask for it
    std::string subscribe_path = "/raw?topic={topic}";
    std::string publish_path = "/raw?publish={topic}";
    std::string subscribe_message;
    std::string subscribe_reply;
    std::string publish_message = "{payload}";
    std::string echo_path = "/echo";
    std::uint32_t inflight = 1;
    double hold_s = 5;
    bool abort = false;
    KeyedOptions keyed;
    // How.
    bool check = false;
    std::string json_file;
    int server_pid = 0;
    int cpu = -1;
    bool spin = false;
    bool quiet = false;
};

struct TalkOptions {  // pub and sub
    std::string url_text = "ws://127.0.0.1:8080";
    Url url;
    TlsOptions tls;
    std::vector<std::string> topics;
    std::string message;
    bool has_message = false;
    std::string file;
    bool binary = false;
    bool json = false;
    std::string key_file;     // of sealed topics
    std::uint64_t count = 0;  // 0: until interrupted
    double rate = -1;         // lines a second; 0: any; below: what the server allows
    double timeout_s = 10;
};

struct Options {
    Verb verb = Verb::none;
    BenchOptions bench;
    TalkOptions talk;
};

}  // namespace ringcast::tools
