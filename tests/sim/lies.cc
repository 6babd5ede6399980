// What a liar sends, and what the server must answer: the tables of RFC 6455 and docs/PROTOCOL.md.

#include <array>

#include "tests/sim/client.h"
#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

struct RequestLie {
    const char* request;
    int status;
};

constexpr std::array<RequestLie, 6> request_lies{{
    {"GARBAGE\r\n\r\n", 400},
    {"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405},
    {"GET /nope HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
     404},
    {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n\r\n",
     426},
    {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Version: 13\r\n\r\n",
     400},
    {"GET /raw HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
     400},
}};

struct FrameLie {
    std::string_view bytes;
    std::uint16_t code;
};

// A text with its zeros.
template <std::size_t size>
[[nodiscard]] constexpr std::string_view raw(const char (&text)[size]) {
    return {text, size - 1};
}

constexpr std::array<FrameLie, 14> frame_lies{{
    {raw("\x81\x05hello"), 1002},                                     // not masked
    {raw("\xc1\x81\0\0\0\0x"), 1002},                                 // RSV1
    {raw("\x83\x80\0\0\0\0"), 1002},                                  // opcode 3
    {raw("\x8b\x80\0\0\0\0"), 1002},                                  // opcode 11
    {raw("\x09\x80\0\0\0\0"), 1002},                                  // a ping in pieces
    {raw("\x89\xfe\x00\x7e\0\0\0\0"), 1002},                          // a ping of 126 bytes
    {raw("\x80\x81\0\0\0\0x"), 1002},                                 // a continuation of nothing
    {raw("\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\0\0\0\0"), 1009},  // two gigabytes
    {raw("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\0\0\0\0"), 1002},  // the highest bit of a length
    {raw("\x81\xfe\x00\x05\0\0\0\0hello"), 1002},                     // not the shortest length
    {raw("\x81\x82\0\0\0\0\xc0\x80"), 1007},                          // overlong UTF-8
    {raw("\x88\x81\0\0\0\0x"), 1002},                                 // half a close code
    {raw("\x88\x82\0\0\0\0\x03\xed"), 1002},                          // 1005 on the wire
    {raw("\x88\x84\0\0\0\0\x03\xe8\xff\xfe"), 1007},                  // a reason that is not UTF-8
}};

}  // namespace

void Client::lie() {
    if (state_ == State::asking) {
        const RequestLie& each = request_lies[plan_.variant % request_lies.size()];
        expected_status_ = each.status;
        say(each.request);
        return;
    }
    const std::uint32_t which = plan_.variant % (frame_lies.size() + 2);
    if (which == frame_lies.size()) {
        // Not JSON: an error, and the connection stays. On /raw it would be no lie.
        if (!plan_.raw) say_frame(Op::text, "{\"type\":");
        return;
    }
    silent_since_ = world_.now();
    misbehaves_ = true;
    alarm_in(Alarm::deadline,
             static_cast<Nanos>(world_.options().config.close_timeout) + nanos_per_s);
    if (which > frame_lies.size()) {
        expected_code_ = plan_.raw ? 0 : 1003;
        if (!plan_.raw) say_frame(Op::binary, "x");
        if (plan_.raw) silent_since_ = never;
        return;
    }
    expected_code_ = frame_lies[which].code;
    say(frame_lies[which].bytes);
}

}  // namespace ringcast::sim
