#include "ringcast/server.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <latch>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "base/check.h"
#include "io/memfile.h"
#include "io/probe.h"
#include "io/process.h"
#include "io/socket.h"
#include "node/confinement.h"
#include "node/demo_feed.h"
#include "node/host_feed.h"
#include "node/memory_plan.h"
#include "node/mesh.h"
#include "node/quotas.h"
#include "node/restore.h"
#include "node/sealer.h"
#include "node/shard.h"
#include "node/slow_policies.h"
#include "node/storage.h"
#include "node/tls_reactor.h"
#include "node/tokens.h"
#include "wire/envelope.h"
#include "wire/tls.h"

namespace ringcast {

namespace {

// Descriptors that are not for clients.
constexpr std::uint64_t reserved_files_min = 64;
constexpr std::uint64_t process_files = 16;  // standard streams, /proc, store, libraries
constexpr std::uint64_t shard_files = 8;     // ring or epoll, wake-up, log, and five for its pages

constexpr std::uint32_t worker_threads = 2;  // the store is one strand: one would do for it
constexpr std::size_t jobs_spare = 16;

[[nodiscard]] std::uint64_t reserved_files(const Config& config) noexcept {
    const std::uint64_t listeners = config.listen.size() + config.tls_listen.size();
    const std::uint64_t shard = shard_files + listeners + node::Shard::refusal_slots;
    return std::max(reserved_files_min, process_files + config.shards * shard);
}

// "127.0.0.1:80: permission denied" and the like.
[[nodiscard]] std::string describe(std::string_view what, Error error) noexcept {
    std::string text(what);
    text += ": ";
    // Not strerror(): it may write into memory that all threads share.
    const char* known = error.code == Errc::os ? strerrordesc_np(error.os) : nullptr;
    return text + (known != nullptr ? known : "failed");
}

[[nodiscard]] std::string cannot_listen(const Config& config,
                                        const io::Address& address,
                                        Error error) noexcept {
    // ENOENT is no answer of bind() or listen(): the kernel has no control of this name.
    if (error.os == ENOENT && !config.congestion.empty()) {
        return "--congestion '" + config.congestion +
               "': see net.ipv4.tcp_available_congestion_control";
    }
    return "cannot listen on " + describe(io::format_address(address), error);
}

[[nodiscard]] io::Backend backend_of(Io io) noexcept {
    switch (io) {
        case Io::automatic:
            return io::Backend::automatic;
        case Io::uring:
            return io::Backend::uring;
        case Io::epoll:
            return io::Backend::epoll;
    }
    return io::Backend::automatic;
}

}  // namespace

// One shard's thread: made, told its listeners, run to its end.
struct Worker {
    std::vector<io::Fd> listeners;
    std::unique_ptr<node::Shard> shard;
    node::TlsReactor* tls = nullptr;  // the shard's, or null
    std::string why;
    std::string io_name;
    std::string error;
    std::thread thread;
};

struct Server::Impl {
    Config config;
    LogSink log;
    std::vector<std::string> addresses;
    std::vector<std::string> tls_addresses;
    std::unique_ptr<wire::TlsTickets> tickets;  // null: no TLS
    std::optional<wire::TlsContext> tls;        // what new connections get; none: no TLS
    std::uint64_t hash_seed = 0;
    wire::TokenKey token_key{};
    SealKeys seal_keys;
    std::vector<wire::SealSalt> seal_salts;  // one for each shard, of this life alone
    std::uint32_t connections_max = 0;       // of all shards together
    std::uint32_t table_size = 0;            // of one shard at most
    std::size_t arena_size = 0;              // of one shard's logs: what a buddy allocator can use
    node::MemoryPlan memory_plan;
    std::unique_ptr<node::Quotas> quotas;
    node::Confinement confinement{config};
    std::unique_ptr<node::Mesh> mesh;
    std::unique_ptr<io::Store> store;
    std::unique_ptr<node::WorkerPool> pool;
    node::StoreState store_state;
    std::unique_ptr<node::Storage> storage;  // null: no --store
    std::vector<Worker> workers;
    std::unique_ptr<std::latch> ready;  // all shards are built, or failed
    std::unique_ptr<std::latch> start;  // and may run, or must go
    std::unique_ptr<std::latch> ended;  // no shard posts mail any more
    std::unique_ptr<std::latch> leave;  // and nobody calls stop() any more
    std::atomic<bool> go{false};        // read behind `start`
    std::atomic<std::uint32_t> running{0};
    bool joined = false;
    node::SlowPolicies policies{config};  // what the shards were told

    void say(LogLevel level, std::string_view line) const noexcept { log.say(level, line); }
    [[nodiscard]] std::string memory_line() const noexcept;
    [[nodiscard]] bool plan(std::string& error) noexcept;
    [[nodiscard]] bool plan_connections(std::string& error) noexcept;
    [[nodiscard]] bool load_tls(std::string& error) noexcept;
    void offer_tls() noexcept;
    [[nodiscard]] std::unique_ptr<io::Reactor> over_tls(
        Worker& worker,
        std::unique_ptr<io::Reactor> plain) noexcept;
    [[nodiscard]] bool bind(const std::vector<std::string>& texts,
                            std::vector<std::string>& bound,
                            std::string& error) noexcept;
    [[nodiscard]] bool open_store(std::string& error) noexcept;
    [[nodiscard]] bool build_shards(std::string& error) noexcept;
    [[nodiscard]] bool restore(std::string& error) noexcept;
    [[nodiscard]] bool confine(std::string& error) noexcept;
    void work(std::uint32_t index) noexcept;
    [[nodiscard]] bool build_shard(std::uint32_t index) noexcept;
};

// Settles the numbers that depend on this machine.
bool Server::Impl::plan(std::string& error) noexcept {
    const std::vector<std::uint32_t> cpus = io::usable_cpus();
    if (config.shards == 0) config.shards = std::min<std::uint64_t>(cpus.size(), 64);
    arena_size = std::bit_floor(config.log_memory / config.shards);
    std::uint64_t hash = 0;
    for (const MutBytes secret :
         {MutBytes(reinterpret_cast<std::byte*>(&hash), sizeof hash), MutBytes(token_key)}) {
        const auto entropy = io::fill_entropy(secret);
        if (!entropy.ok()) {
            error = describe("getrandom", entropy.error());
            return false;
        }
    }
    hash_seed = hash;
    seal_salts.resize(config.shards);
    const auto salted =
        io::fill_entropy(std::as_writable_bytes(std::span(seal_salts.data(), seal_salts.size())));
    if (!salted.ok()) {
        error = describe("getrandom", salted.error());
        return false;
    }
    return plan_connections(error);
}

// As many as descriptors and memory allow.
bool Server::Impl::plan_connections(std::string& error) noexcept {
    const std::uint64_t reserved = reserved_files(config);
    const std::uint64_t wanted =
        config.connections_max == 0 ? 1'000'000 : config.connections_max + reserved;
    auto files = io::raise_file_limit(wanted);
    if (!files.ok()) {
        error = describe("file limit", files.error());
        return false;
    }
    if (files.value() < reserved + 16) {
        error = "the file limit is " + std::to_string(files.value()) + ", too low for " +
                std::to_string(config.shards) + " shards: raise it (ulimit -n) to " +
                std::to_string(reserved + 16) + " at least";
        return false;
    }
    // A direct descriptor takes no place in the process's table, but a ring's own table may not be
    // larger than the limit either (io_uring_register(2)): one limit per shard instead of one.
    const std::uint64_t per_table = files.value() - reserved;
    const std::uint64_t possible =
        config.direct_descriptors ? per_table * config.shards : per_table;
    auto limit = io::memory_limit();
    if (!limit.ok()) {
        error = describe("memory", limit.error());
        return false;
    }
    memory_plan = node::plan_memory(config,
                                    {.machine = limit.value().bytes,
                                     .of_cgroup = limit.value().of_cgroup,
                                     .connections_max = possible,
                                     .arena_size = arena_size});
    config.connections_max = memory_plan.connections_max;
    if (config.connections_max > possible) {
        error = "--connections-max " + std::to_string(config.connections_max) +
                " does not fit the file limit of " + std::to_string(files.value()) + ": at most " +
                std::to_string(possible) + " (ulimit -n, or --direct-descriptors)";
        return false;
    }
    if (config.direct_descriptors) config.io = Io::uring;
    table_size = static_cast<std::uint32_t>(std::min(config.connections_max, per_table));
    connections_max = static_cast<std::uint32_t>(config.connections_max);
    error = memory_plan.problem;
    return error.empty();
}

std::string Server::Impl::memory_line() const noexcept {
    std::string line = "log memory: " + std::to_string(config.shards) + " x " +
                       format_number(arena_size, Unit::bytes);
    if (arena_size * config.shards == config.log_memory) return line;
    return line + " of --log-memory " + format_number(config.log_memory, Unit::bytes) +
           ", since a shard's share is rounded down to a power of two";
}

// What it had before stays if that fails.
bool Server::Impl::load_tls(std::string& error) noexcept {
    if (config.tls_listen.empty()) return true;
    std::vector<wire::TlsPair> pairs;
    for (std::size_t i = 0; i < config.tls_cert.size(); i++) {
        pairs.push_back({.certificate = config.tls_cert[i], .key = config.tls_key[i]});
    }
    std::string problem;
    if (tickets == nullptr) tickets = std::make_unique<wire::TlsTickets>();
    auto loaded = wire::TlsContext::load(pairs, problem, tickets.get());
    if (!loaded.ok()) {
        error = "TLS: " + problem;
        return false;
    }
    tls = std::move(loaded).value();
    return true;
}

void Server::Impl::offer_tls() noexcept {
    for (const Worker& worker : workers) {
        if (worker.tls != nullptr) worker.tls->offer(tls->share());
    }
}

std::unique_ptr<io::Reactor> Server::Impl::over_tls(Worker& worker,
                                                    std::unique_ptr<io::Reactor> plain) noexcept {
    if (!tls.has_value()) return plain;
    const std::uint64_t share = (config.tls_handshakes_max + config.shards - 1) / config.shards;
    auto made = std::make_unique<node::TlsReactor>(
        std::move(plain),
        tls->share(),
        node::TlsReactor::Options{
            .first_listener = static_cast<std::uint32_t>(config.listen.size()),
            .handshakes_max = static_cast<std::uint32_t>(share),
            .capacity = node::Shard::capacity_for(table_size),
            .tickets = tickets.get()});
    worker.tls = made.get();
    return made;
}

// One listener per address and shard. The first of an address settles its port.
bool Server::Impl::bind(const std::vector<std::string>& texts,
                        std::vector<std::string>& bound_to,
                        std::string& error) noexcept {
    const io::ListenOptions options{
        .notsent_lowat = static_cast<std::uint32_t>(config.notsent_lowat),
        .congestion = config.congestion.empty() ? nullptr : config.congestion.c_str()};
    for (const std::string& text : texts) {
        auto parsed = io::parse_address(text);
        RC_CHECK(parsed.ok());  // check() saw to it
        io::Address address = parsed.value();
        for (Worker& worker : workers) {
            auto listener = io::listen_tcp(address, options);
            if (!listener.ok()) {
                error = cannot_listen(config, address, listener.error());
                return false;
            }
            if (&worker == &workers.front()) {
                auto bound = io::local_address(listener.value().get());
                if (!bound.ok()) {
                    error = describe(text, bound.error());
                    return false;
                }
                address.port = bound.value().port;
                bound_to.push_back(io::format_address(address));
            }
            worker.listeners.push_back(std::move(listener).value());
        }
    }
    return true;
}

bool Server::Impl::build_shards(std::string& error) noexcept {
    const auto count = static_cast<std::ptrdiff_t>(workers.size());
    ready = std::make_unique<std::latch>(count);
    start = std::make_unique<std::latch>(1);
    ended = std::make_unique<std::latch>(count);
    leave = std::make_unique<std::latch>(1);
    for (std::uint32_t index = 0; index < workers.size(); index++) {
        workers[index].thread = std::thread([this, index] { work(index); });
    }
    ready->wait();
    for (const Worker& worker : workers) {
        if (!worker.error.empty()) error = worker.error;
    }
    if (!error.empty() || !restore(error) || !confine(error)) return false;
    running.store(static_cast<std::uint32_t>(workers.size()));
    go.store(true);
    start->count_down();
    return true;
}

bool Server::Impl::open_store(std::string& error) noexcept {
    if (config.store.empty()) return true;
    auto opened = io::open_store({.path = config.store, .size_max = config.store_size_max}, error);
    if (!opened.ok()) {
        error = "--store: " + error;
        return false;
    }
    store = std::move(opened).value();
    const std::size_t jobs_max = config.shards + jobs_spare;  // a batch of each shard
    pool = std::make_unique<node::WorkerPool>(*mesh, worker_threads, jobs_max);
    storage = std::make_unique<node::Storage>(
        node::Storage{.store = *store, .worker = *pool, .state = store_state, .log = log});
    return true;
}

// The shards' threads wait for `start`.
bool Server::Impl::restore(std::string& error) noexcept {
    if (storage == nullptr) return true;
    std::vector<node::Shard*> shards;
    for (const Worker& worker : workers) {
        shards.push_back(worker.shard.get());
    }
    const node::Restored restored =
        node::restore(config, *store, shards.front()->wall_now(), shards);
    error = restored.problem;
    if (!error.empty()) return false;
    say(LogLevel::info,
        "store: " + config.store + ": " + std::to_string(restored.topics) + " topics, " +
            std::to_string(restored.records) + " records");
    if (restored.strangers > 0) {
        say(LogLevel::warning,
            "store: " + std::to_string(restored.strangers) +
                " topics have no rule any more that says durable: they are left as they are");
    }
    return true;
}

// The last step before anybody is accepted: all threads are there.
bool Server::Impl::confine(std::string& error) noexcept {
    // What OpenSSL reads from files at its first use is read now.
    const wire::TokenKey key{};
    static_cast<void>(wire::session_token(key, "warm"));
    return confinement.finish(workers.front().io_name == "uring", error);
}

// The thread of a shard. Its reactor is made and unmade here, since a ring belongs to its thread.
void Server::Impl::work(std::uint32_t index) noexcept {
    const bool built = build_shard(index);
    ready->count_down();
    start->wait();
    if (built && go.load()) {
        workers[index].shard->run();
        say(LogLevel::info,
            "shard " + std::to_string(index) + ": " +
                node::describe(workers[index].shard->counters()));
        if (workers[index].tls != nullptr) {
            say(LogLevel::info,
                "shard " + std::to_string(index) +
                    ": TLS: " + node::describe(workers[index].tls->counters()));
        }
        running.fetch_sub(1);
        ended->arrive_and_wait();
        leave->wait();
    }
    workers[index].shard.reset();
}

bool Server::Impl::build_shard(std::uint32_t index) noexcept {
    Worker& worker = workers[index];
    io::name_thread("shard " + std::to_string(index));
    const std::vector<std::uint32_t> cpus = io::usable_cpus();
    const bool pinned = config.pin >= 0 || (workers.size() > 1 && workers.size() <= cpus.size());
    if (pinned) {
        const std::uint32_t cpu = config.pin >= 0 ? static_cast<std::uint32_t>(config.pin) + index
                                                  : cpus[index % cpus.size()];
        auto done = io::pin_thread(cpu);
        if (!done.ok()) {
            worker.error = describe("--pin: CPU " + std::to_string(cpu), done.error());
            return false;
        }
    }
    auto memory = io::MemFile::create("ringcast-log", arena_size);
    if (!memory.ok()) {
        worker.error = describe("--log-memory", memory.error());
        return false;
    }
    io::MemFile file = std::move(memory).value();
    auto parser = wire::EnvelopeParser::make(config.message_max);
    if (!parser.ok()) {
        worker.error = describe("--message-max", parser.error());
        return false;
    }
    const node::ShardSetup setup{.index = index,
                                 .connections_max = connections_max,
                                 .table_size = table_size,
                                 .hash_seed = hash_seed,
                                 .arena_size = arena_size,
                                 .token_key = token_key,
                                 .storage = storage.get(),
                                 .seal_salt = seal_salts[index],
                                 .seal_keys = seal_keys.empty() ? nullptr : &seal_keys,
                                 .quotas = quotas.get(),
                                 .log = log};
    auto reactor =
        io::make_reactor(backend_of(config.io),
                         {.connections_max = node::Shard::capacity_for(table_size),
                          .log_file = file.fd(),
                          .sendfile_min = static_cast<std::uint32_t>(config.sendfile_min),
                          .direct_descriptors = config.direct_descriptors,
                          .restricted = confinement.restricts_rings()},
                         worker.why);
    if (!reactor.ok()) {
        worker.error = describe("--io: " + worker.why, reactor.error());
        return false;
    }
    auto made = over_tls(worker, std::move(reactor).value());
    worker.io_name = made->name();
    worker.shard = std::make_unique<node::Shard>(
        config, setup, *mesh, std::move(file), std::move(made), std::move(parser).value());
    for (io::Fd& listener : worker.listeners) {
        auto listening = worker.shard->listen(std::move(listener));
        if (!listening.ok()) {
            worker.error = describe("listen", listening.error());
            return false;
        }
    }
    return true;
}

std::unique_ptr<Server> Server::create(const Config& config,
                                       LogSink log,
                                       std::string& error,
                                       const SealKeys& keys) noexcept {
    error = check(config);
    if (error.empty() && config.auth_alg != TokenAlgorithm::none) {
        error = check_keys(config.auth_alg, config.auth_keys);
        if (!error.empty()) error = "--auth-alg: " + error;
    }
    if (!error.empty()) return nullptr;
    error = node::check_seal_keys(config, keys);
    if (!error.empty()) {
        error = "--topic: " + error + " in --seal-keys-file";
        return nullptr;
    }
    auto impl = std::make_unique<Impl>();
    impl->config = config;
    if (config.dev) {  // behind the operator's own
        impl->config.topic.push_back(node::host_rule());
        impl->config.topic.push_back(node::demo_rule());
    }
    impl->log = log;
    impl->seal_keys = keys;
    if (!impl->load_tls(error) || !impl->plan(error)) return nullptr;
    impl->mesh = std::make_unique<node::Mesh>(static_cast<std::uint32_t>(impl->config.shards),
                                              impl->memory_plan.mail_max);
    impl->mesh->budget().set_room(impl->memory_plan.room, impl->memory_plan.logs_floor);
    impl->quotas =
        std::make_unique<node::Quotas>(impl->config, impl->connections_max, impl->hash_seed);
    impl->workers.resize(impl->config.shards);
    // In this order: TlsReactor::Options::first_listener.
    const bool bound = impl->bind(impl->config.listen, impl->addresses, error) &&
                       impl->bind(impl->config.tls_listen, impl->tls_addresses, error);
    if (!bound || !impl->confinement.begin(error) || !impl->open_store(error)) return nullptr;
    const bool built = impl->build_shards(error);
    wipe(impl->config.auth_keys);
    std::unique_ptr<Server> server(new Server(std::move(impl)));
    if (!built) return nullptr;  // the destructor joins the threads
    const Impl& made = *server->impl_;
    made.say(LogLevel::info, "io: " + made.workers.front().why);
    made.say(LogLevel::info, made.memory_line());
    if (made.config.auth_alg != TokenAlgorithm::none) {
        made.say(LogLevel::info, "tokens: " + std::string(name_of(made.config.auth_alg)));
    }
    for (const std::string& line : node::describe(made.memory_plan)) {
        made.say(LogLevel::info, line);
    }
    made.say(LogLevel::info, made.confinement.line());
    if (made.confinement.stays_root()) made.say(LogLevel::warning, "it runs as root: see --user");
    return server;
}

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Server::~Server() {
    if (impl_->running.load() > 0) {
        stop();
        stop();
    }
    join();
}

const std::vector<std::string>& Server::addresses() const noexcept {
    return impl_->addresses;
}

const std::vector<std::string>& Server::tls_addresses() const noexcept {
    return impl_->tls_addresses;
}

bool Server::reload_tls(std::string& error) noexcept {
    if (!impl_->load_tls(error)) return false;
    if (!finished() && impl_->tls.has_value()) impl_->offer_tls();
    return true;
}

std::string_view Server::io_name() const noexcept {
    return impl_->workers.front().io_name;
}

std::uint32_t Server::shard_count() const noexcept {
    return static_cast<std::uint32_t>(impl_->workers.size());
}

Result<Done> Server::set_policy(std::string_view pattern,
                                std::string_view policy,
                                std::string& error) noexcept {
    Impl& impl = *impl_;
    if (finished()) {
        error = "the server has ended";
        return Error{.code = Errc::closed};
    }
    error = node::check_policy(impl.config, pattern, policy);
    if (!error.empty()) return Error{.code = Errc::bad_request};
    if (policy == "conflate") return Done{};  // so it is: keyed topics have no other
    const SlowPolicy wanted = policy == "close" ? SlowPolicy::close : SlowPolicy::gap;
    if (!impl.policies.set(pattern, wanted)) {
        error = "there are policies for " + std::to_string(node::SlowPolicies::changes_max) +
                " patterns already";
        return Error{.code = Errc::busy};
    }
    node::post_policy(*impl.mesh, pattern, wanted);
    return Done{};
}

bool Server::sandbox_selftest(std::string& table) noexcept {
    return impl_->confinement.selftest(table);
}

Result<Done> Server::reload_keys(std::string_view keys, std::string& error) noexcept {
    Impl& impl = *impl_;
    if (finished()) {
        error = "the server has ended";
        return Error{.code = Errc::closed};
    }
    error = check_keys(impl.config.auth_alg, keys);
    if (!error.empty()) return Error{.code = Errc::bad_request};
    node::post_keys(*impl.mesh, keys);
    return Done{};
}

Result<Done> Server::set_seal_keys(const SealKeys& keys, std::string& error) noexcept {
    Impl& impl = *impl_;
    if (finished()) {
        error = "the server has ended";
        return Error{.code = Errc::closed};
    }
    error = node::check_seal_keys(impl.config, keys);
    if (error.empty()) error = node::check_seal_change(impl.seal_keys, keys);
    if (!error.empty()) return Error{.code = Errc::bad_request};
    impl.seal_keys = keys;
    node::post_seal_keys(*impl.mesh, keys);
    return Done{};
}

void Server::stop() noexcept {
    for (Worker& worker : impl_->workers) {
        if (worker.shard != nullptr) worker.shard->request_stop();
    }
}

bool Server::finished() const noexcept {
    return impl_->running.load() == 0;
}

void Server::join() noexcept {
    if (std::exchange(impl_->joined, true)) return;
    if (impl_->start == nullptr) return;  // it never came to threads
    if (impl_->go.load()) {
        impl_->ended->wait();
        // Its answers wake shards, which nobody needs any more, but whose reactors must be there.
        if (impl_->pool != nullptr) impl_->pool->stop();
    } else {
        impl_->start->count_down();
    }
    impl_->leave->count_down();
    for (Worker& worker : impl_->workers) {
        if (worker.thread.joinable()) worker.thread.join();
    }
}

}  // namespace ringcast
