#include "feed/outbox.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "base/check.h"

namespace ringcast::feed {

// Bytes [begin, end) of the `capacity` behind the header wait; the first `front` of them came by
// push_front().
struct Outbox::Data {
    std::uint32_t capacity = 0;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t front = 0;

    [[nodiscard]] std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::size_t size() const noexcept { return end - begin; }
};

void Outbox::Free::operator()(Data* data) const noexcept {
    ::operator delete(data);
}

bool Outbox::push(Bytes frame, std::size_t size_max) noexcept {
    RC_CHECK(!frame.empty());
    const std::size_t waiting = data_ == nullptr ? 0 : data_->size() - data_->front;
    if (waiting + frame.size() > size_max) return false;

    make_room(0, frame.size());
    std::memcpy(data_->bytes() + data_->end, frame.data(), frame.size());
    data_->end += static_cast<std::uint32_t>(frame.size());
    RC_CHECK(data_->end <= data_->capacity);
    return true;
}

void Outbox::push_front(Bytes rest) noexcept {
    RC_CHECK(!rest.empty());
    make_room(rest.size(), 0);
    RC_CHECK(data_->begin >= rest.size());
    data_->begin -= static_cast<std::uint32_t>(rest.size());
    data_->front += static_cast<std::uint32_t>(rest.size());
    std::memcpy(data_->bytes() + data_->begin, rest.data(), rest.size());
}

Bytes Outbox::pending() const noexcept {
    if (data_ == nullptr) return {};
    return {data_->bytes() + data_->begin, data_->size()};
}

void Outbox::consume(std::size_t size) noexcept {
    if (size == 0) return;
    RC_CHECK(data_ != nullptr);
    RC_CHECK(size <= data_->size());
    if (size == data_->size()) {
        clear();
        return;
    }
    data_->begin += static_cast<std::uint32_t>(size);
    data_->front -= static_cast<std::uint32_t>(std::min<std::size_t>(data_->front, size));
}

std::size_t Outbox::held_bytes() const noexcept {
    return data_ == nullptr ? 0 : sizeof(Data) + data_->capacity;
}

// At least `front` free bytes before what waits and `back` behind it.
void Outbox::make_room(std::size_t front, std::size_t back) noexcept {
    const std::size_t size = data_ == nullptr ? 0 : data_->size();
    const std::size_t needed = front + size + back;
    RC_CHECK(needed <= UINT32_MAX / 2);
    if (data_ != nullptr && data_->begin >= front && data_->capacity - data_->end >= back) return;

    if (data_ == nullptr || needed > data_->capacity) {
        // With the header it fills a size that allocators like; small frames come in twos.
        const std::size_t capacity =
            std::bit_ceil(std::max<std::size_t>(needed + sizeof(Data), 128)) - sizeof(Data);
        void* memory = ::operator new(sizeof(Data) + capacity);
        std::unique_ptr<Data, Free> larger(
            new (memory) Data{.capacity = static_cast<std::uint32_t>(capacity)});
        larger->front = data_ == nullptr ? 0 : data_->front;
        if (size > 0) {
            std::memcpy(larger->bytes() + front, data_->bytes() + data_->begin, size);
        }
        data_ = std::move(larger);
    } else if (size > 0) {
        std::memmove(data_->bytes() + front, data_->bytes() + data_->begin, size);
    }
    data_->begin = static_cast<std::uint32_t>(front);
    data_->end = static_cast<std::uint32_t>(front + size);
}

}  // namespace ringcast::feed
