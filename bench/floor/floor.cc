// floor: the kernel's share of a fan-out server, and nothing else. One thread, one log, one cursor
// per client; no timers, no limits, no topics, no strictness. Every figure of the server is given
// as a ratio to what this program needs for the same work on the same machine.
//
// A client whose path holds "publish=" feeds the log: its frames are unmasked into a ring that is
// mapped twice in a row, so that cursor..head is always one contiguous slice. Everybody else gets
// the log from the moment of the handshake on. A path that holds "/echo" gets its own frames back.
//
// What makes it cheap: sends go out in batches after all input of a turn was read, a busy reader
// gets many messages in one slice, sockets are watched edge-triggered for both directions so that a
// full one costs no system call to wait for, and successful io_uring sends post no completion.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <getopt.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

enum class Method : std::uint8_t { uring, send, sendfile };
enum class Role : std::uint8_t { none, handshaking, subscriber, publisher, echo };

constexpr std::size_t inbox_size = 4 << 20;  // a publisher's largest message; touched as needed
constexpr unsigned batch_max = 64;           // sends per io_uring_enter

struct Options {
    Method method = Method::uring;
    int port = 0;
    int cpu = -1;
    int notsent_lowat = 0;
    std::uint64_t log_mib = 64;
};

struct Client {  // indexed by descriptor, so iterating is in order of allocation
    std::uint64_t cursor = 0;
    Role role = Role::none;
    bool blocked = false;
    std::uint32_t held = 0;  // bytes of an unfinished frame in the inbox
};

[[noreturn]] void die(const char* what) {
    std::perror(what);
    _exit(1);
}

class Floor {
  public:
    explicit Floor(const Options& options);
    [[noreturn]] void run();
    [[nodiscard]] int port() const { return port_; }

  private:
    void map_log();
    void listen_on(int port);
    void accept_all();
    void read_from(int fd);
    void take_input(int fd, unsigned char* buffer, std::size_t filled);
    void shake_hands(int fd, char* text, std::size_t size);
    bool take_frame(int fd, unsigned char* frame, std::size_t header, std::size_t length);
    std::size_t take_frames(int fd, unsigned char* bytes, std::size_t size);
    void append(unsigned char first,
                const unsigned char* payload,
                std::size_t size,
                const unsigned char* key);
    void drop(int fd);
    void pump();
    void send_to(int fd);
    void flush_ring();

    const Options options_;
    int epoll_ = -1;
    int listener_ = -1;
    int port_ = 0;
    int memfd_ = -1;
    unsigned char* log_ = nullptr;
    std::uint64_t log_size_;
    std::uint64_t head_ = 0;
    std::uint64_t pumped_ = 0;  // everybody who is not blocked has been sent the log up to here
    unsigned queued_ = 0;       // sends in the ring, not submitted yet
    int fd_end_ = 0;            // one past the largest descriptor seen
    io_uring ring_ = {};
    std::vector<Client> clients_;
    std::vector<std::unique_ptr<unsigned char[]>> inboxes_;
    std::vector<int> due_;  // were blocked, can take bytes again
    std::unique_ptr<unsigned char[]> scratch_;
};

Floor::Floor(const Options& options)
    : options_(options), log_size_(options.log_mib << 20), scratch_(new unsigned char[inbox_size]) {
    rlimit files = {};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) die("getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) die("setrlimit");
    clients_.resize(std::min<std::size_t>(files.rlim_cur, 1 << 20));
    inboxes_.resize(clients_.size());
    map_log();
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) die("epoll_create1");
    listen_on(options.port);
    if (options.method != Method::uring) return;
    const int result = io_uring_queue_init(
        batch_max, &ring_, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (result < 0) {
        errno = -result;
        die("io_uring_queue_init");
    }
    io_uring_register_ring_fd(&ring_);
}

void Floor::map_log() {
    memfd_ = memfd_create("floor", MFD_CLOEXEC);
    const auto size = static_cast<std::size_t>(log_size_);
    if (memfd_ < 0 || ftruncate(memfd_, static_cast<off_t>(size)) != 0) die("memfd");
    void* base = mmap(nullptr, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) die("mmap");
    log_ = static_cast<unsigned char*>(base);
    for (int half = 0; half < 2; half++) {
        const int flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
        unsigned char* place = log_ + (half == 0 ? 0 : size);
        if (mmap(place, size, PROT_READ | PROT_WRITE, flags, memfd_, 0) == MAP_FAILED) die("mmap");
    }
}

void Floor::listen_on(int port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // all of these are inherited
    setsockopt(listener_, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    const int lowat = options_.notsent_lowat;
    if (lowat > 0) setsockopt(listener_, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    if (bind(listener_, raw, size) != 0 || listen(listener_, 4096) != 0) die("listen");
    if (getsockname(listener_, raw, &size) != 0) die("getsockname");
    port_ = ntohs(address.sin_port);
    epoll_event event = {.events = EPOLLIN, .data = {.fd = listener_}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) != 0) die("epoll_ctl");
}

void Floor::accept_all() {
    for (;;) {
        const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        clients_[static_cast<std::size_t>(fd)] = Client{.role = Role::handshaking};
        fd_end_ = std::max(fd_end_, fd + 1);
        epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                             .data = {.fd = fd}};
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
    }
}

void Floor::drop(int fd) {
    clients_[static_cast<std::size_t>(fd)] = Client{};
    inboxes_[static_cast<std::size_t>(fd)].reset();
    close(fd);
}

// The whole request is taken to arrive at once, as it does on loopback.
void Floor::shake_hands(int fd, char* text, std::size_t size) {
    text[size] = '\0';
    const char* key = strcasestr(text, "sec-websocket-key:");
    const char* line_end = strpbrk(text, "\r\n");
    if (key == nullptr || line_end == nullptr) return drop(fd);
    key += strlen("sec-websocket-key:");
    while (*key == ' ') {
        key++;
    }
    char salted[64];
    const int length = std::snprintf(
        salted, sizeof salted, "%.24s%s", key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1(reinterpret_cast<unsigned char*>(salted), static_cast<std::size_t>(length), digest);
    unsigned char accept[32];
    EVP_EncodeBlock(accept, digest, sizeof digest);
    char answer[192];
    const int answer_size = std::snprintf(answer,
                                          sizeof answer,
                                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket"
                                          "\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s"
                                          "\r\n\r\n",
                                          reinterpret_cast<char*>(accept));
    Client& client = clients_[static_cast<std::size_t>(fd)];
    const std::string_view path(text, static_cast<std::size_t>(line_end - text));
    client.role = path.find("publish=") != path.npos ? Role::publisher
                  : path.find("/echo") != path.npos  ? Role::echo
                                                     : Role::subscriber;
    client.cursor = head_;
    if (client.role != Role::subscriber) {
        inboxes_[static_cast<std::size_t>(fd)].reset(new unsigned char[inbox_size]);
    }
    if (send(fd, answer, static_cast<std::size_t>(answer_size), MSG_NOSIGNAL) < 0) drop(fd);
}

void Floor::append(unsigned char first,
                   const unsigned char* payload,
                   std::size_t size,
                   const unsigned char* key) {
    unsigned char* out = log_ + head_ % log_size_;
    std::size_t at = 0;
    out[at++] = first;
    if (size < 126) {
        out[at++] = static_cast<unsigned char>(size);
    } else {
        const int bytes = size < 65536 ? 2 : 8;
        out[at++] = bytes == 2 ? 126 : 127;
        for (int i = bytes - 1; i >= 0; i--) {
            out[at++] = static_cast<unsigned char>(size >> (8 * i));
        }
    }
    std::uint64_t wide = 0;
    std::memcpy(&wide, key, 4);
    wide |= wide << 32;
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, payload + i, 8);
        word ^= wide;
        std::memcpy(out + at + i, &word, 8);
    }
    for (; i < size; i++) {
        out[at + i] = payload[i] ^ key[i & 3];
    }
    head_ += at + size;
}

// Where the payload of the client frame at `bytes` begins and how large it is; false if its header
// is not whole. Client frames are always masked, with the key right before the payload.
bool parse_header(const unsigned char* bytes,
                  std::size_t size,
                  std::size_t& header,
                  std::uint64_t& length) {
    if (size < 6) return false;
    length = bytes[1] & 0x7f;
    const std::size_t wide = length < 126 ? 0 : length == 126 ? 2 : 8;
    header = 6 + wide;
    if (size < header) return false;
    if (wide != 0) length = 0;
    for (std::size_t i = 0; i < wide; i++) {
        length = length << 8 | bytes[2 + i];
    }
    return true;
}

// Handles every whole frame; returns how many bytes they took.
std::size_t Floor::take_frames(int fd, unsigned char* bytes, std::size_t size) {
    std::size_t at = 0;
    std::size_t header = 0;
    std::uint64_t length = 0;
    while (parse_header(bytes + at, size - at, header, length)) {
        if (length > inbox_size - 14) return drop(fd), size;
        if (size - at < header + length) break;
        if (!take_frame(fd, bytes + at, header, length)) return size;
        at += header + length;
    }
    return at;
}

// False if the connection is gone.
bool Floor::take_frame(int fd, unsigned char* frame, std::size_t header, std::size_t length) {
    unsigned char* payload = frame + header;
    unsigned char* key = payload - 4;
    const Role role = clients_[static_cast<std::size_t>(fd)].role;
    if ((frame[0] & 0x0f) == 8) {
        const unsigned char farewell[] = {0x88, 2, 0x03, 0xe8};
        send(fd, farewell, sizeof farewell, MSG_NOSIGNAL);
        return drop(fd), false;
    }
    if (role == Role::publisher) append(frame[0], payload, length, key);
    if (role != Role::echo) return true;
    // Through the unused end of the log, so that there is one place that unmasks.
    const std::uint64_t before = head_;
    append(frame[0], payload, length, key);
    const std::size_t total = head_ - before;
    head_ = before;
    const ssize_t sent = send(fd, log_ + head_ % log_size_, total, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(total)) return true;
    return drop(fd), false;
}

// Edge-triggered: reads until the socket is empty, which a short read shows.
void Floor::read_from(int fd) {
    for (;;) {
        const Client& client = clients_[static_cast<std::size_t>(fd)];
        unsigned char* inbox = inboxes_[static_cast<std::size_t>(fd)].get();
        unsigned char* buffer = inbox != nullptr ? inbox : scratch_.get();
        const std::size_t room = inbox_size - client.held - 1;
        const ssize_t count = recv(fd, buffer + client.held, room, 0);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) return drop(fd);
        const auto size = static_cast<std::size_t>(count);
        if (client.role == Role::handshaking) {
            shake_hands(fd, reinterpret_cast<char*>(buffer), size);
        } else {
            take_input(fd, buffer, client.held + size);
        }
        if (size < room || client.role == Role::none) return;
    }
}

// Keeps the start of an unfinished frame, for those who send more than control frames.
void Floor::take_input(int fd, unsigned char* buffer, std::size_t filled) {
    const std::size_t taken = take_frames(fd, buffer, filled);
    Client& client = clients_[static_cast<std::size_t>(fd)];
    if (client.role == Role::none) return;
    const bool keeps = inboxes_[static_cast<std::size_t>(fd)] != nullptr;
    client.held = keeps ? static_cast<std::uint32_t>(filled - taken) : 0;
    if (client.held != 0 && taken != 0) std::memmove(buffer, buffer + taken, client.held);
}

void Floor::flush_ring() {
    if (queued_ == 0) return;
    queued_ = 0;
    if (io_uring_submit(&ring_) < 0) die("io_uring_submit");
    // Only refusals are here: whole sends complete in silence (DONTWAIT|WAITALL|SKIP_SUCCESS).
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
        count++;
        const int fd = static_cast<int>(cqe->user_data & UINT32_MAX);
        const std::uint64_t wanted = cqe->user_data >> 32;
        Client& client = clients_[static_cast<std::size_t>(fd)];
        if (cqe->res < 0 && cqe->res != -EAGAIN) {
            drop(fd);
            continue;
        }
        client.cursor = head_ - wanted + static_cast<std::uint64_t>(std::max(cqe->res, 0));
        client.blocked = true;
    }
    io_uring_cq_advance(&ring_, count);
}

void Floor::send_to(int fd) {
    Client& client = clients_[static_cast<std::size_t>(fd)];
    if (client.role != Role::subscriber || client.blocked || client.cursor == head_) return;
    const std::uint64_t wanted = head_ - client.cursor;
    if (wanted > log_size_) return drop(fd);  // fell off the tail: no policy here
    const std::uint64_t offset = client.cursor % log_size_;
    if (options_.method == Method::uring) {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        io_uring_prep_send(
            sqe, fd, log_ + offset, wanted, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = wanted << 32 | static_cast<std::uint32_t>(fd);
        client.cursor = head_;
        if (++queued_ == batch_max) flush_ring();
        return;
    }
    ssize_t sent = 0;
    if (options_.method == Method::send) {
        sent = send(fd, log_ + offset, wanted, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        auto from = static_cast<off_t>(offset);
        sent = sendfile(fd, memfd_, &from, std::min(wanted, log_size_ - offset));
    }
    if (sent < 0 && errno != EAGAIN) return drop(fd);
    client.cursor += static_cast<std::uint64_t>(std::max<ssize_t>(sent, 0));
    client.blocked = client.cursor != head_;
    if (client.blocked && client.cursor % log_size_ == 0 && sent > 0) {  // sendfile at the seam
        client.blocked = false;
        send_to(fd);
    }
}

void Floor::pump() {
    if (pumped_ != head_) {
        for (int fd = 0; fd < fd_end_; fd++) {
            send_to(fd);
        }
        pumped_ = head_;
    } else {
        for (const int fd : due_) {
            send_to(fd);
        }
    }
    due_.clear();
    flush_ring();
}

void Floor::run() {
    epoll_event events[256];
    for (;;) {
        const int count = epoll_wait(epoll_, events, 256, -1);
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;
            const std::uint32_t what = events[i].events;
            if (fd == listener_) {
                accept_all();
                continue;
            }
            Client& client = clients_[static_cast<std::size_t>(fd)];
            if ((what & EPOLLOUT) != 0 && client.blocked) {
                client.blocked = false;
                due_.push_back(fd);
            }
            if ((what & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) read_from(fd);
        }
        pump();
    }
}

[[noreturn]] void usage() {
    std::fprintf(stderr,
                 "floor [--method uring|send|sendfile] [--port N] [--pin CPU] [--log-mib N]\n"
                 "      [--notsent-lowat BYTES]\n");
    _exit(2);
}

void set_option(Options& options, int flag, std::string_view text) {
    const int number = std::atoi(text.data());
    if (flag == 'p') options.port = number;
    if (flag == 'c') options.cpu = number;
    if (flag == 'n') options.notsent_lowat = number;
    if (flag == 'l') options.log_mib = static_cast<std::uint64_t>(std::clamp(number, 1, 4096));
    if (flag != 'm') return;
    if (text != "uring" && text != "send" && text != "sendfile") usage();
    options.method = text == "uring"  ? Method::uring
                     : text == "send" ? Method::send
                                      : Method::sendfile;
}

Options parse(int argc, char** argv) {
    const option known[] = {{"method", required_argument, nullptr, 'm'},
                            {"port", required_argument, nullptr, 'p'},
                            {"pin", required_argument, nullptr, 'c'},
                            {"log-mib", required_argument, nullptr, 'l'},
                            {"notsent-lowat", required_argument, nullptr, 'n'},
                            {nullptr, 0, nullptr, 0}};
    Options options;
    for (;;) {
        const int flag = getopt_long(argc, argv, "", known, nullptr);  // NOLINT: one thread
        if (flag == -1) return options;
        if (flag == '?') usage();
        set_option(options, flag, optarg);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);  // sendfile has no MSG_NOSIGNAL
    if (options.cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(static_cast<std::size_t>(options.cpu), &cpus);
        if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) die("--pin");
    }
    Floor floor(options);
    std::printf("floor: listening on 127.0.0.1:%d pid %d\n", floor.port(), getpid());
    std::fflush(stdout);
    floor.run();
}
