#include "proxy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "tools/clock.h"

namespace ringcast::faultproxy {

namespace {

constexpr std::size_t events_max = 256;
constexpr int rounds_max = 32;  // of one link before the others get a turn
constexpr std::size_t line_max = 512;
constexpr Nanos retry_accept = 100 * nanos_per_ms;
constexpr std::uint32_t edges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

// What an epoll event is about: a tag in the low bits, an index above.
enum Tag : std::uint64_t { tag_listener, tag_controls, tag_control, tag_client, tag_server };
constexpr std::uint64_t tag_bits = 3;

constexpr std::uint64_t tagged(Tag tag, std::uint64_t index = 0) noexcept {
    return index << tag_bits | tag;
}

// Slices must stay slices.
void no_delay(int fd) noexcept {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// What close() does from now on is a reset.
void reset_at_close(int fd) noexcept {
    const linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

Proxy::Link::Link(std::uint64_t seed, std::uint64_t number) noexcept
    : random(seed ^ number * 0x9e3779b97f4a7c15), up(random.next()), down(random.next()) {}

Proxy::Proxy(const Options& options) noexcept
    : options_(options),
      seed_(options.seed),
      links_(options.links_max),
      buffer_(new std::byte[Pipe::capacity]) {
    for (std::uint32_t slot = options.links_max; slot-- > 0;) {
        free_.push_back(slot);
    }
}

Proxy::~Proxy() {
    if (!control_path_.empty()) unlink(control_path_.c_str());
}

Result<Done> Proxy::open() noexcept {
    epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) return os_error(errno);
    // No low-water mark: that is the server's way with its own sockets.
    listener_ = RC_TRY(io::listen_tcp(options_.listen, {.reuse_port = false, .notsent_lowat = 0}));
    if (!watch(listener_.get(), EPOLLIN, tagged(tag_listener))) return os_error(errno);
    return options_.control.empty() ? Done{} : open_control();
}

Result<Done> Proxy::open_control() noexcept {
    constexpr std::string_view prefix = "unix:";
    if (!options_.control.starts_with(prefix)) {
        const io::Address address = RC_TRY(io::parse_address(options_.control));
        control_listener_ = RC_TRY(io::listen_tcp(address, {.reuse_port = false}));
    } else {
        const std::string path = options_.control.substr(prefix.size());
        sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
        if (path.empty() || path.size() >= sizeof name.sun_path) return os_error(ENAMETOOLONG);
        std::memcpy(name.sun_path, path.data(), path.size());
        control_listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const auto* to = reinterpret_cast<const sockaddr*>(&name);
        if (!control_listener_.valid() || bind(control_listener_.get(), to, sizeof name) != 0) {
            return os_error(errno);
        }
        control_path_ = path;
        if (listen(control_listener_.get(), controls_max) != 0) return os_error(errno);
    }
    if (!watch(control_listener_.get(), EPOLLIN, tagged(tag_controls))) return os_error(errno);
    return Done{};
}

std::string Proxy::address() const noexcept {
    Result<io::Address> bound = io::local_address(listener_.get());
    return bound.ok() ? io::format_address(bound.value()) : "?";
}

std::string Proxy::control_address() const noexcept {
    if (options_.control.starts_with("unix:") || options_.control.empty()) return options_.control;
    Result<io::Address> bound = io::local_address(control_listener_.get());
    return bound.ok() ? io::format_address(bound.value()) : "?";
}

bool Proxy::watch(int fd, std::uint32_t events, std::uint64_t tag) noexcept {
    epoll_event event = {.events = events, .data = {.u64 = tag}};
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Proxy::turn(Nanos timeout) noexcept {
    Nanos now = tools::clock_now();
    if (!timers_.empty()) timeout = std::min(timeout, timers_.begin()->first - now);
    if (paused_) timeout = std::min(timeout, retry_accept);
    if (!again_.empty()) timeout = 0;
    timeout = std::max<Nanos>(timeout, 0);
    const timespec span = {.tv_sec = timeout / nanos_per_s, .tv_nsec = timeout % nanos_per_s};
    epoll_event events[events_max];
    const int count = epoll_pwait2(epoll_.get(), events, events_max, &span, nullptr);
    now = tools::clock_now();
    for (int i = 0; i < count; i++) {
        on_event(events[i].data.u64, events[i].events, now);
    }
    std::vector<std::uint32_t> again;
    again.swap(again_);
    for (const std::uint32_t slot : again) {
        pump(slot, now);
    }
    while (!timers_.empty() && timers_.begin()->first <= now) {
        const std::uint32_t slot = timers_.begin()->second;
        timers_.erase(timers_.begin());
        links_[slot]->wake_at = 0;
        pump(slot, now);
    }
    free_.insert(free_.end(), freed_.begin(), freed_.end());
    freed_.clear();
    if (paused_ && !free_.empty()) pause_accepting(false);
}

void Proxy::on_event(std::uint64_t tag, std::uint32_t events, Nanos now) noexcept {
    const auto index = static_cast<std::uint32_t>(tag >> tag_bits);
    switch (static_cast<Tag>(tag & ((1U << tag_bits) - 1))) {
        case tag_listener:
            return accept_links(now);
        case tag_controls:
            return accept_controls();
        case tag_control:
            return read_control(controls_[index]);
        case tag_client:
        case tag_server:
            break;
    }
    Link* link = links_[index].get();
    if (link == nullptr) return;  // went earlier in this turn
    const bool of_server = (tag & ((1U << tag_bits) - 1)) == tag_server;
    if (of_server && !link->connected) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(link->server.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) return remove(index, true);
        if ((events & EPOLLOUT) == 0) return;
        link->connected = true;
    }
    Side& side = of_server ? link->server : link->client;
    const bool broken = (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (broken || (events & (EPOLLIN | EPOLLRDHUP)) != 0) side.readable = true;
    if (broken || (events & EPOLLOUT) != 0) side.writable = true;
    pump(index, now);
}

void Proxy::accept_links(Nanos now) noexcept {
    while (!free_.empty()) {
        io::Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd.valid()) {
            // Out of descriptors: look again in a while instead of spinning on the listener.
            if (errno == EMFILE || errno == ENFILE) pause_accepting(true);
            if (errno == ECONNABORTED || errno == EINTR) continue;
            return;
        }
        add_link(std::move(fd), now);
    }
    pause_accepting(true);
}

void Proxy::pause_accepting(bool pause) noexcept {
    if (pause == paused_) return;
    paused_ = pause;
    epoll_event event = {.events = pause ? 0U : EPOLLIN, .data = {.u64 = tagged(tag_listener)}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_.get(), &event);
}

void Proxy::add_link(io::Fd client, Nanos now) noexcept {
    sockaddr_storage target = {};
    const socklen_t size = io::to_sockaddr(options_.target, target);
    io::Fd server(socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto* to = reinterpret_cast<const sockaddr*>(&target);
    const bool dialing =
        server.valid() && (connect(server.get(), to, size) == 0 || errno == EINPROGRESS);
    if (!dialing) return reset_at_close(client.get());
    no_delay(client.get());
    no_delay(server.get());
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    RC_CHECK(links_[slot] == nullptr);
    links_[slot] = std::make_unique<Link>(seed_, ++accepted_);
    Link& link = *links_[slot];
    link.client.fd = std::move(client);
    link.server.fd = std::move(server);
    link_count_++;
    for (const Fault& fault : faults_) {
        meet(link, fault, now);
    }
    if (!watch(link.client.fd.get(), edges, tagged(tag_client, slot)) ||
        !watch(link.server.fd.get(), edges, tagged(tag_server, slot))) {
        return remove(slot, true);
    }
    pump(slot, now);
}

void Proxy::meet(Link& link, const Fault& fault, Nanos now) noexcept {
    if (!link.random.chance(fault.percent, 100)) return;
    const auto ways = static_cast<unsigned>(fault.way);
    if ((ways & static_cast<unsigned>(Way::up)) != 0) link.up.apply(fault, now);
    if ((ways & static_cast<unsigned>(Way::down)) != 0) link.down.apply(fault, now);
}

void Proxy::pump(std::uint32_t slot, Nanos now) noexcept {
    if (links_[slot] == nullptr) return;
    Link& link = *links_[slot];
    for (int round = 0; round < rounds_max; round++) {
        bool moved = read_side(link.client, link.up, now);
        moved = read_side(link.server, link.down, now) || moved;
        if (link.up.next(now).end == End::reset || link.down.next(now).end == End::reset) {
            return remove(slot, true);
        }
        moved = write_side(link.server, link.up, link.down, now) || moved;
        moved = write_side(link.client, link.down, link.up, now) || moved;
        if (link.up.over() && link.down.over()) return remove(slot, false);
        if (!moved) return schedule(slot, now);
    }
    again_.push_back(slot);
}

bool Proxy::read_side(Side& from, Pipe& pipe, Nanos now) noexcept {
    const std::size_t room = pipe.room();
    if (!from.readable || room == 0) return false;
    const ssize_t count = recv(from.fd.get(), buffer_.get(), room, 0);
    if (count > 0) {
        pipe.push({buffer_.get(), static_cast<std::size_t>(count)}, now);
        return true;
    }
    from.readable = false;
    if (count < 0 && errno == EAGAIN) return false;
    pipe.end(count == 0 ? End::finished : End::reset, now);
    return true;
}

bool Proxy::write_side(Side& to, Pipe& pipe, Pipe& back, Nanos now) noexcept {
    if (!to.writable) return false;
    const Pipe::Next next = pipe.next(now);
    if (next.end == End::finished) {
        shutdown(to.fd.get(), SHUT_WR);
        pipe.told();
        return true;
    }
    if (next.bytes.empty()) return false;
    const ssize_t count = send(to.fd.get(), next.bytes.data(), next.bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
        pipe.took(static_cast<std::size_t>(count), now);
        return true;
    }
    to.writable = false;
    if (count < 0 && errno == EAGAIN) return false;
    pipe.sink();
    back.end(End::reset, now);  // whoever was written to is gone: the other learns it that way
    return true;
}

// Both pipes have nothing to do at this moment: the earlier of what they wait for.
void Proxy::schedule(std::uint32_t slot, Nanos now) noexcept {
    Link& link = *links_[slot];
    const Nanos up = link.up.next(now).at;
    const Nanos down = link.down.next(now).at;
    const Nanos at = std::min(up, down);
    if (at == link.wake_at) return;
    if (link.wake_at != 0) timers_.erase({link.wake_at, slot});
    link.wake_at = at == never ? 0 : at;
    if (link.wake_at != 0) timers_.insert({at, slot});
}

void Proxy::remove(std::uint32_t slot, bool reset) noexcept {
    Link& link = *links_[slot];
    if (link.wake_at != 0) timers_.erase({link.wake_at, slot});
    moved_up_ += link.up.passed();
    moved_down_ += link.down.passed();
    if (reset) {
        reset_++;
        reset_at_close(link.client.fd.get());
        reset_at_close(link.server.fd.get());
    }
    links_[slot].reset();
    freed_.push_back(slot);
    link_count_--;
}

// After a command: what was held may move, what moved may be held.
void Proxy::pump_all(Nanos now) noexcept {
    for (std::uint32_t slot = 0; slot < links_.size(); slot++) {
        pump(slot, now);
    }
}

void Proxy::accept_controls() noexcept {
    io::Fd fd(accept4(control_listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return;
    const auto place = std::find_if(
        controls_.begin(), controls_.end(), [](const Control& c) { return !c.fd.valid(); });
    if (place == controls_.end()) return;  // closed: too many
    const auto index = static_cast<std::uint64_t>(place - controls_.begin());
    if (!watch(fd.get(), EPOLLIN, tagged(tag_control, index))) return;
    place->fd = std::move(fd);
    place->line.clear();
}

void Proxy::read_control(Control& control) noexcept {
    if (!control.fd.valid()) return;
    char bytes[line_max];
    const ssize_t count = recv(control.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return control.fd.reset(-1);
    control.line.append(bytes, static_cast<std::size_t>(count));
    std::string answers;
    for (;;) {
        const std::size_t end = control.line.find('\n');
        const bool whole = end != control.line.npos;
        if (!whole && control.line.size() < line_max) break;
        answers += whole ? obey(std::string_view(control.line).substr(0, end))
                         : std::string("error: a line of over 511 bytes");
        answers += '\n';
        control.line.erase(0, whole ? end + 1 : control.line.size());
    }
    const ssize_t sent =
        send(control.fd.get(), answers.data(), answers.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != static_cast<ssize_t>(answers.size())) control.fd.reset(-1);
}

std::string Proxy::obey(std::string_view line) noexcept {
    Command command;
    std::string complaint;
    if (!parse_command(line, command, complaint)) return "error: " + complaint;
    std::string answer = "ok";
    switch (command.verb) {
        case Verb::add:
            answer = add_fault(command.fault);
            break;
        case Verb::remove: {
            const auto gone = std::erase_if(
                faults_, [&](const Fault& fault) { return fault.id == command.number; });
            if (gone == 0) return "error: there is no fault " + std::to_string(command.number);
            for (const std::unique_ptr<Link>& link : links_) {
                if (link == nullptr) continue;
                link->up.lift(static_cast<std::uint32_t>(command.number));
                link->down.lift(static_cast<std::uint32_t>(command.number));
            }
            break;
        }
        case Verb::cut:
            answer += " " + std::to_string(link_count_);
            for (std::uint32_t slot = 0; slot < links_.size(); slot++) {
                if (links_[slot] != nullptr) remove(slot, true);
            }
            break;
        case Verb::clear:
            faults_.clear();
            for (const std::unique_ptr<Link>& link : links_) {
                if (link == nullptr) continue;
                link->up.lift_all();
                link->down.lift_all();
            }
            break;
        case Verb::seed:
            seed_ = command.number;
            break;
        case Verb::stats:
            return stats();
        case Verb::help:
            return "ok " + command_help();
    }
    pump_all(tools::clock_now());
    return answer;
}

std::string Proxy::add_fault(Fault fault) noexcept {
    if (faults_.size() == faults_max) {
        return "error: there are " + std::to_string(faults_max) + " faults, the most there may be";
    }
    fault.id = next_fault_++;
    const Nanos now = tools::clock_now();
    // One that ends streams, or lasts a moment, is for the links there are, and for those to come.
    faults_.push_back(fault);
    for (const std::unique_ptr<Link>& link : links_) {
        if (link != nullptr) meet(*link, fault, now);
    }
    return "ok " + std::to_string(fault.id);
}

std::string Proxy::stats() const noexcept {
    std::uint64_t up = moved_up_;
    std::uint64_t down = moved_down_;
    std::size_t held = 0;
    for (const std::unique_ptr<Link>& link : links_) {
        if (link == nullptr) continue;
        up += link->up.passed();
        down += link->down.passed();
        held += link->up.size() + link->down.size();
    }
    std::string text =
        "ok links=" + std::to_string(link_count_) + " accepted=" + std::to_string(accepted_) +
        " reset=" + std::to_string(reset_) + " up=" + std::to_string(up) +
        " down=" + std::to_string(down) + " held=" + std::to_string(held) +
        " seed=" + std::to_string(seed_) + " faults=" + std::to_string(faults_.size());
    for (const Fault& fault : faults_) {
        text += " [" + std::to_string(fault.id) + " " + describe(fault) + "]";
    }
    return text;
}

}  // namespace ringcast::faultproxy
