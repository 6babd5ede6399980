#include "tests/support/fake_reactor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace ringcast::test {

void FakeSocket::say_split(std::string_view bytes, Random& random) {
    while (!bytes.empty()) {
        const std::size_t size = random.between(1, random.chance(1, 2) ? 3 : bytes.size());
        say(bytes.substr(0, size));
        bytes.remove_prefix(std::min(size, bytes.size()));
    }
}

void FakeSocket::reset(int os_error) noexcept {
    inbox.clear();
    end = os_error;
    broken = os_error;
}

std::string FakeSocket::take() noexcept {
    return std::exchange(sent, {});
}

FakeReactor::FakeReactor(VirtualClock& clock, std::uint64_t seed, std::uint32_t connections_max)
    : clock_(clock),
      random_(seed),
      indexes_(connections_max, nullptr),
      now_(clock.now),
      wall_(clock.wall) {}

FakeSocket& FakeReactor::accept() {
    sockets_.push_back(std::make_unique<FakeSocket>());
    current_.push_back(sockets_.back().get());
    return *sockets_.back();
}

Result<Done> FakeReactor::listen(io::Fd listener) noexcept {
    static_cast<void>(listener);
    return Done{};
}

Result<io::ConnIndex> FakeReactor::connect(const io::Address& peer) noexcept {
    static_cast<void>(peer);
    return Error{.code = Errc::busy};
}

Result<io::Address> FakeReactor::peer(io::ConnIndex conn) noexcept {
    const FakeSocket& socket = open(conn);
    if (!socket.from.has_value()) return Error{.code = Errc::not_found};
    return *socket.from;
}

FakeSocket& FakeReactor::open(io::ConnIndex conn) noexcept {
    RC_CHECK(conn < indexes_.size());
    FakeSocket* socket = indexes_[conn];
    RC_CHECK(socket != nullptr);
    RC_CHECK(!socket->closed);
    return *socket;
}

void FakeReactor::send(std::span<io::Send> batch) noexcept {
    RC_CHECK(!batch.empty());
    RC_CHECK(batch.size() <= io::send_batch_max);
    RC_CHECK(!calling_back_);  // sends start when the events are told, not among them
    for (std::size_t i = 0; i < batch.size(); i++) {
        for (std::size_t j = 0; j < i; j++) {
            RC_CHECK(batch[i].conn != batch[j].conn);
        }
        send_one(batch[i]);
    }
    batches_++;
    slices_ += batch.size();
}

void FakeReactor::send_one(io::Send& send) noexcept {
    FakeSocket& socket = open(send.conn);
    RC_CHECK(!send.bytes.empty());
    RC_CHECK(!socket.shut);
    RC_CHECK(!socket.full);  // whoever was refused waits for on_writable()
    socket.sends++;
    if (socket.broken != 0) {
        send.result = -socket.broken;
        return;
    }
    std::size_t taken = std::min(send.bytes.size(), socket.room);
    if (socket.stingy) taken = random_.between(0, taken);
    socket.sent.append(as_text(send.bytes.first(taken)));
    if (socket.room != FakeSocket::endless) socket.room -= taken;
    socket.full = taken < send.bytes.size();
    send.result = static_cast<std::int32_t>(taken);
    send.by_reference = taken > 0 && send.file_offset >= 0 && send.bytes.size() >= sendfile_min_;
}

void FakeReactor::want_writable(io::ConnIndex conn) noexcept {
    FakeSocket& socket = open(conn);
    RC_CHECK(!socket.wanting);
    socket.wanting = true;
}

void FakeReactor::pause_recv(io::ConnIndex conn) noexcept {
    FakeSocket& socket = open(conn);
    RC_CHECK(!socket.paused);
    socket.paused = true;
}

void FakeReactor::resume_recv(io::ConnIndex conn) noexcept {
    FakeSocket& socket = open(conn);
    RC_CHECK(socket.paused);
    socket.paused = false;
}

void FakeReactor::shutdown_send(io::ConnIndex conn) noexcept {
    FakeSocket& socket = open(conn);
    RC_CHECK(!socket.shut);
    socket.shut = true;
}

void FakeReactor::close(io::ConnIndex conn) noexcept {
    FakeSocket& socket = open(conn);
    socket.closed = true;
    socket.unread = !socket.inbox.empty();
}

void FakeReactor::wait(Nanos deadline) noexcept {
    RC_CHECK(handler_ != nullptr);
    RC_CHECK(!calling_back_);
    deadline_ = deadline;
    now_ = clock_.now;
    wall_ = clock_.wall;
    const std::uint64_t before = told_;
    calling_back_ = true;
    for (std::size_t i = current_.size(); i > 1; i--) {
        std::swap(current_[i - 1], current_[random_.below(i)]);
    }
    // A callback may close, but only the test accepts: the list does not change under us.
    for (FakeSocket* socket : current_) {
        tell(*socket);
    }
    std::erase_if(current_,
                  [](const FakeSocket* socket) { return socket->closed && !socket->live; });
    calling_back_ = false;
    was_idle_ = told_ == before;
}

Nanos FakeReactor::present() const noexcept {
    clock_.advance(work_time_);
    cpu_time_ += work_time_;
    return clock_.now;
}

void FakeReactor::tell(FakeSocket& socket) noexcept {
    if (!socket.live) {
        tell_accept(socket);
        return;  // its bytes come with the next wait()
    }
    if (socket.closed) {
        tell_closed(socket);
        return;
    }
    tell_input(socket);
    const bool takes = socket.broken != 0 || socket.room > 0;
    if (socket.closed || !socket.wanting || !takes) return;
    socket.wanting = false;
    socket.full = false;
    told_++;
    handler_->on_writable(socket.conn);
}

void FakeReactor::tell_accept(FakeSocket& socket) noexcept {
    if (!listening_ || live_count_ == indexes_.size()) return;  // stays in the backlog
    const auto free = std::find(indexes_.begin(), indexes_.end(), nullptr);
    RC_CHECK(free != indexes_.end());
    *free = &socket;
    socket.conn = static_cast<io::ConnIndex>(free - indexes_.begin());
    socket.live = true;
    live_count_++;
    told_++;
    handler_->on_accepted(socket.conn, socket.listener);
}

void FakeReactor::tell_input(FakeSocket& socket) noexcept {
    while (!socket.closed && !socket.paused && !socket.inbox.empty()) {
        const std::string bytes = std::move(socket.inbox.front());
        socket.inbox.pop_front();
        // Exactly as long as promised, so that a sanitizer sees what reads further.
        const auto view = std::make_unique<std::byte[]>(bytes.size() + io::receive_padding);
        std::memcpy(view.get(), bytes.data(), bytes.size());
        std::memset(view.get() + bytes.size(), 0xa5, io::receive_padding);
        told_++;
        handler_->on_received(socket.conn, MutBytes(view.get(), bytes.size()));
    }
    const bool ends = !socket.closed && !socket.paused && socket.end >= 0 && !socket.told_end;
    if (!ends) return;
    socket.told_end = true;
    told_++;
    handler_->on_ended(socket.conn, socket.end);
}

void FakeReactor::tell_closed(FakeSocket& socket) noexcept {
    told_++;
    handler_->on_closed(socket.conn);
    RC_CHECK(indexes_[socket.conn] == &socket);
    indexes_[socket.conn] = nullptr;
    socket.live = false;
    live_count_--;
}

}  // namespace ringcast::test
