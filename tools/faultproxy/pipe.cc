#include "pipe.h"

#include <algorithm>

#include "base/check.h"

namespace ringcast::faultproxy {

namespace {

constexpr Nanos nanos_per_us = 1'000;
constexpr std::uint64_t portions_per_s = 100;  // a narrow pipe moves its bytes in so many steps

Nanos millis(std::uint64_t count) noexcept {
    return static_cast<Nanos>(count) * nanos_per_ms;
}

}  // namespace

void Pipe::apply(const Fault& fault, Nanos now) noexcept {
    Active active{.fault = fault, .left = fault.a, .stops_at = 0, .goes_on_at = 0};
    if (fault.kind == Kind::swizzle) {
        const auto half = static_cast<std::uint64_t>(millis(fault.a)) / 2;
        active.stops_at = now + static_cast<Nanos>(random_.below(half));
        active.goes_on_at = now + static_cast<Nanos>(random_.between(half, 2 * half));
    }
    active_.push_back(active);
}

void Pipe::lift(std::uint32_t id) noexcept {
    std::erase_if(active_, [&](const Active& active) { return active.fault.id == id; });
}

std::size_t Pipe::room() const noexcept {
    if (end_ != End::open) return 0;
    if (told_) return capacity;  // it is dropped
    return chunks_.size() >= chunks_max ? 0 : capacity - size_;
}

void Pipe::push(Bytes bytes, Nanos now) noexcept {
    RC_CHECK(bytes.size() <= room());
    if (told_ || bytes.empty()) return;
    last_at_ = std::max(last_at_, now + delay());
    if (chunks_.empty() || chunks_.back().at != last_at_) chunks_.push_back({.at = last_at_});
    std::string& target = chunks_.back().bytes;
    std::string copy(as_text(bytes));
    flip(copy);
    target += copy;
    size_ += bytes.size();
}

void Pipe::end(End end, Nanos now) noexcept {
    RC_CHECK(end != End::open);
    if (end <= end_) return;
    end_ = end;
    end_at_ = last_at_ = std::max(last_at_, now + delay());
}

void Pipe::sink() noexcept {
    chunks_.clear();
    size_ = 0;
    told_ = true;
}

Pipe::Next Pipe::next(Nanos now) noexcept {
    const Nanos held = held_until(now);
    if (held > now) return {.at = held};
    if (end_ == End::reset && end_at_ <= now) return {.end = End::reset};
    if (told_) return {.at = end_ == End::reset ? end_at_ : never};
    for (const Active& active : active_) {
        if (active.left > 0) continue;
        if (active.fault.kind == Kind::reset) return {.end = End::reset};
        if (active.fault.kind == Kind::half) {
            chunks_.clear();
            size_ = 0;
            return {.end = End::finished};
        }
    }
    const Nanos end_due = end_ == End::reset ? end_at_ : never;
    if (chunks_.empty()) {
        if (end_ != End::finished) return {.at = end_due};
        return end_at_ <= now ? Next{.end = End::finished} : Next{.at = end_at_};
    }
    Chunk& chunk = chunks_.front();
    const Nanos due = std::max(chunk.at, next_write_at_);
    if (due > now) return {.at = std::min(due, end_due)};
    const Bytes rest = as_bytes(chunk.bytes).subspan(chunk.taken);
    return {.bytes = rest.first(limit(rest.size())), .at = end_due};
}

void Pipe::took(std::size_t count, Nanos now) noexcept {
    RC_CHECK(!chunks_.empty());
    Chunk& chunk = chunks_.front();
    chunk.taken += count;
    size_ -= count;
    passed_ += count;
    RC_CHECK(chunk.taken <= chunk.bytes.size());
    if (chunk.taken == chunk.bytes.size()) chunks_.pop_front();
    next_write_at_ = std::max(next_write_at_, now);
    for (Active& active : active_) {
        const Fault& fault = active.fault;
        if (fault.kind == Kind::half || fault.kind == Kind::reset) {
            active.left -= std::min<std::uint64_t>(active.left, count);
        } else if (fault.kind == Kind::bandwidth) {
            const double seconds = static_cast<double>(count) / static_cast<double>(fault.a);
            next_write_at_ += static_cast<Nanos>(seconds * 1e9);
        } else if (fault.kind == Kind::slice) {
            next_write_at_ += static_cast<Nanos>(fault.b) * nanos_per_us;
        }
    }
}

Nanos Pipe::delay() noexcept {
    Nanos sum = 0;
    for (const Active& active : active_) {
        if (active.fault.kind != Kind::latency) continue;
        const Nanos jitter = millis(active.fault.b);
        const auto drawn = random_.between(0, static_cast<std::uint64_t>(2 * jitter));
        sum += millis(active.fault.a) - jitter + static_cast<Nanos>(drawn);
    }
    return sum;
}

Nanos Pipe::held_until(Nanos now) const noexcept {
    Nanos until = now;
    for (const Active& active : active_) {
        if (active.fault.kind == Kind::blackhole) return never;
        if (active.fault.kind == Kind::swizzle && active.stops_at <= now) {
            until = std::max(until, active.goes_on_at);
        }
    }
    return until;
}

// How many of `size` bytes one write may carry.
std::size_t Pipe::limit(std::size_t size) noexcept {
    std::uint64_t most = size;
    for (const Active& active : active_) {
        const Fault& fault = active.fault;
        if (fault.kind == Kind::slice) {
            most = std::min(most, random_.between(1, fault.a));
        } else if (fault.kind == Kind::bandwidth) {
            most = std::min(most, std::max<std::uint64_t>(fault.a / portions_per_s, 1));
        } else if (fault.kind == Kind::half || fault.kind == Kind::reset) {
            most = std::min(most, active.left);
        }
    }
    return static_cast<std::size_t>(most);
}

void Pipe::flip(std::string& bytes) noexcept {
    for (const Active& active : active_) {
        if (active.fault.kind != Kind::flip) continue;
        for (char& byte : bytes) {
            if (!random_.chance(active.fault.a, 1'000'000)) continue;
            byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << random_.below(8)));
        }
    }
}

}  // namespace ringcast::faultproxy
