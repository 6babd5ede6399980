#include "wire/framer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "wire/mask.h"

namespace ringcast::wire {

namespace {

constexpr std::uint64_t message_size_limit = std::uint64_t{1} << 30;
constexpr std::size_t buffer_size_min = 256;

// What an empty payload points at when there is no buffer.
constexpr std::array<std::byte, payload_padding> padding{};

constexpr bool is_control(Opcode opcode) noexcept {
    return (static_cast<std::uint8_t>(opcode) & 8) != 0;
}

// What is wrong with the first two bytes of a frame, or null.
const char* judge_start(std::byte first,
                        std::byte second,
                        bool in_message,
                        bool may_compress) noexcept {
    const auto start = std::to_integer<std::uint8_t>(first);
    const bool fin = (start & 0x80) != 0;
    const unsigned opcode = start & 0x0f;
    const unsigned length = std::to_integer<unsigned>(second) & 0x7f;
    const bool begins_data = opcode == 1 || opcode == 2;
    const unsigned allowed = may_compress && begins_data ? 0x40 : 0;
    if ((start & 0x70 & ~allowed) != 0) return "RSV bit without an extension";
    if ((std::to_integer<unsigned>(second) & 0x80) == 0) return "frame is not masked";
    if (opcode >= 8) {
        if (opcode > 10) return "reserved opcode";
        if (!fin) return "fragmented control frame";
        if (length > control_payload_max) return "control frame over 125 bytes";
        if (opcode == 8 && length == 1) return "close frame with half a code";
        return nullptr;
    }
    if (opcode > 2) return "reserved opcode";
    if (opcode == 0 && !in_message) return "continuation of nothing";
    if (opcode != 0 && in_message) return "new message inside a fragmented one";
    return nullptr;
}

// What is wrong with the length of a complete header, or null.
const char* judge_length(const FrameHeader& header) noexcept {
    const bool wide = header.size == masked_header_size_max;
    if (wide && (header.payload_size >> 63) != 0) return "length with its top bit set";
    if (header.size != wire::header_size(header.payload_size) + sizeof(MaskKey)) {
        return "length not in its shortest form";
    }
    return nullptr;
}

Framer::Event close_event(Bytes payload) noexcept {
    Framer::Event event{.kind = FramerEvent::close, .opcode = Opcode::close};
    event.close_code = close_code::no_status;
    event.payload = payload;
    if (payload.empty()) return event;
    event.close_code = load_be16(payload.data());
    event.payload = payload.subspan(2);
    if (!close_code_valid_on_wire(event.close_code)) {
        return {.kind = FramerEvent::error,
                .close_code = close_code::protocol_error,
                .reason = "close code that may not be sent"};
    }
    if (!utf8_valid(event.payload)) {
        return {.kind = FramerEvent::error,
                .close_code = close_code::invalid_payload,
                .reason = "close reason is not UTF-8"};
    }
    return event;
}

Framer::Event control_event(Opcode opcode, Bytes payload) noexcept {
    if (opcode == Opcode::close) return close_event(payload);
    const auto kind = opcode == Opcode::ping ? FramerEvent::ping : FramerEvent::pong;
    return {.kind = kind, .opcode = opcode, .payload = payload};
}

}  // namespace

Framer::Event Framer::next(MutBytes& input, const FramerLimits& limits) noexcept {
    if (release_pending_) release();
    Event event;
    bool more = true;
    while (more) {
        switch (state_) {
            case State::header:
                more = take_header(input, limits, event);
                break;
            case State::data:
                more = take_data(input, limits, event);
                break;
            case State::control:
                more = take_control(input, limits, event);
                break;
            case State::dead:
                input = input.last(0);
                more = false;
                break;
        }
    }
    return event;
}

// Takes a header and, when it lies there whole, the payload as well. True: go on with the new
// state.
bool Framer::take_header(MutBytes& input, const FramerLimits& limits, Event& event) noexcept {
    const bool in_place = header_count_ == 0;
    const Bytes bytes = in_place ? Bytes(input) : gather_header(input);
    if (bytes.size() >= 2) {
        const bool may_compress = limits.compressed_size_max != 0;
        const char* fault = judge_start(bytes[0], bytes[1], in_message(), may_compress);
        if (fault != nullptr) return fail(event, close_code::protocol_error, fault);
    }
    FrameHeader header;
    if (!decode_header(bytes, header)) {
        if (in_place) {
            // At most 13 bytes: less than any header they could begin.
            std::copy(bytes.begin(), bytes.end(), header_.begin());
            header_count_ = static_cast<std::uint8_t>(bytes.size());
            input = input.last(0);
            return false;
        }
        return !input.empty();
    }
    if (in_place) input = input.subspan(header.size);
    header_count_ = 0;

    if (const char* fault = judge_length(header); fault != nullptr) {
        return fail(event, close_code::protocol_error, fault);
    }
    if (!is_control(header.opcode)) {
        const bool compressed = in_message() ? compressed_ : header.reserved != 0;
        const std::uint64_t most =
            compressed ? limits.compressed_size_max : limits.message_size_max;
        // Subtracted, so that no announced length can overflow a sum.
        const std::uint64_t room = most - std::min<std::uint64_t>(size_, most);
        if (header.payload_size > room) {
            return fail(event, close_code::too_big, "message over the size limit");
        }
        if (fragments_ >= limits.fragments_max) {
            return fail(event, close_code::policy_violation, "too many fragments");
        }
    }
    if (take_whole(header, input, event)) return false;
    begin_frame(header);
    return true;
}

// The fast path: a frame that needs nothing remembered is handed out where it lies.
bool Framer::take_whole(const FrameHeader& header, MutBytes& input, Event& event) noexcept {
    if (header.payload_size > input.size()) return false;
    const bool control = is_control(header.opcode);
    if (!control && (!header.fin || in_message())) return false;

    const MutBytes payload = input.first(header.payload_size);
    input = input.subspan(header.payload_size);
    apply_mask(payload, header.key, 0);
    if (control) {
        event = control_event(header.opcode, payload);
        if (event.kind == FramerEvent::close || event.kind == FramerEvent::error) {
            release();
            state_ = State::dead;
        }
        return true;
    }
    const bool compressed = header.reserved != 0;
    if (header.opcode == Opcode::text && !compressed && !utf8_valid(payload)) {
        fail(event, close_code::invalid_payload, "text is not UTF-8");
        return true;
    }
    event = {.kind = FramerEvent::message,
             .opcode = header.opcode,
             .compressed = compressed,
             .payload = payload};
    return true;
}

// Completes the header that began in an earlier input, byte by byte: it is at most 14 of them.
Bytes Framer::gather_header(MutBytes& input) noexcept {
    FrameHeader ignored;
    while (!input.empty() && !decode_header({header_.data(), header_count_}, ignored)) {
        RC_CHECK(header_count_ < header_.size());
        header_[header_count_++] = input.front();
        input = input.subspan(1);
        // Two bytes can be judged, and must be before more is waited for.
        if (header_count_ == 2) break;
    }
    return {header_.data(), header_count_};
}

void Framer::begin_frame(const FrameHeader& header) noexcept {
    remaining_ = header.payload_size;
    key_ = header.key;
    phase_ = 0;
    if (is_control(header.opcode)) {
        control_opcode_ = header.opcode;
        control_size_ = 0;
        state_ = State::control;
        return;
    }
    if (fragments_ == 0) {
        RC_CHECK(size_ == 0);
        message_opcode_ = header.opcode;
        compressed_ = header.reserved != 0;
        utf8_.reset();
    }
    fragments_++;
    final_frame_ = header.fin;
    state_ = State::data;
}

bool Framer::take_data(MutBytes& input, const FramerLimits& limits, Event& event) noexcept {
    if (!input.empty() && remaining_ != 0) {
        const std::size_t size = std::min<std::uint64_t>(remaining_, input.size());
        if (!append(input.first(size), size_, limits)) {
            return fail(event, close_code::internal_error, "no memory for the message");
        }
        const Bytes piece{buffer_ + size_, size};
        input = input.subspan(size);
        size_ += static_cast<std::uint32_t>(size);
        if (checks_text() && !utf8_.feed(piece)) {
            return fail(event, close_code::invalid_payload, "text is not UTF-8");
        }
    }
    if (remaining_ != 0) return false;

    state_ = State::header;
    if (!final_frame_) return !input.empty();
    if (checks_text() && !utf8_.complete()) {
        return fail(event, close_code::invalid_payload, "text ends inside a character");
    }
    const std::byte* payload = buffer_ == nullptr ? padding.data() : buffer_;
    event = {.kind = FramerEvent::message,
             .opcode = message_opcode_,
             .compressed = compressed_,
             .payload = {payload, size_}};
    size_ = 0;
    fragments_ = 0;
    release_pending_ = true;
    return false;
}

// A control frame that came in pieces is put together behind the message, if there is one.
bool Framer::take_control(MutBytes& input, const FramerLimits& limits, Event& event) noexcept {
    if (!input.empty() && remaining_ != 0) {
        const std::size_t size = std::min<std::uint64_t>(remaining_, input.size());
        if (!append(input.first(size), size_ + control_size_, limits)) {
            return fail(event, close_code::internal_error, "no memory for a control frame");
        }
        input = input.subspan(size);
        control_size_ = static_cast<std::uint8_t>(control_size_ + size);
    }
    if (remaining_ != 0) return false;

    const std::byte* payload = buffer_ == nullptr ? padding.data() : buffer_ + size_;
    event = control_event(control_opcode_, {payload, control_size_});
    const bool last = event.kind == FramerEvent::close || event.kind == FramerEvent::error;
    state_ = last ? State::dead : State::header;
    release_pending_ = last || !in_message();
    return false;
}

// Copies `piece` to buffer_[at...] and unmasks it there. False: no memory.
bool Framer::append(MutBytes piece, std::size_t at, const FramerLimits& limits) noexcept {
    RC_CHECK(limits.message_size_max <= message_size_limit);
    RC_CHECK(limits.compressed_size_max <= 2 * message_size_limit);
    RC_CHECK(piece.size() <= remaining_);
    const std::size_t needed = at + piece.size() + payload_padding;
    if (needed > capacity_) {
        const std::size_t capacity_max =
            std::max(limits.message_size_max, limits.compressed_size_max) + control_payload_max +
            payload_padding;
        const std::size_t doubled =
            std::max<std::size_t>(2 * std::size_t{capacity_}, buffer_size_min);
        const std::size_t capacity = std::max(needed, std::min(doubled, capacity_max));
        void* grown = std::realloc(buffer_, capacity);
        if (grown == nullptr) return false;
        buffer_ = static_cast<std::byte*>(grown);
        capacity_ = static_cast<std::uint32_t>(capacity);
    }
    std::memcpy(buffer_ + at, piece.data(), piece.size());
    apply_mask({buffer_ + at, piece.size()}, key_, phase_);
    phase_ = static_cast<std::uint8_t>((phase_ + piece.size()) & 3);
    remaining_ -= piece.size();
    return true;
}

bool Framer::fail(Event& event, std::uint16_t code, const char* reason) noexcept {
    RC_CHECK(close_code_sendable(code));
    release();
    state_ = State::dead;
    event = {.kind = FramerEvent::error, .close_code = code, .reason = reason};
    return false;
}

void Framer::release() noexcept {
    std::free(buffer_);
    buffer_ = nullptr;
    capacity_ = 0;
    size_ = 0;
    fragments_ = 0;
    release_pending_ = false;
}

}  // namespace ringcast::wire
