#pragma once

// RFC 6455 from the client's side, and the few members of an envelope that the oracle reads.
// Written from the RFC and docs/PROTOCOL.md alone: nothing of src/wire is here, so that the two can
// disagree.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringcast::sim {

enum class Op : std::uint8_t { more = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct Frame {
    Op op = Op::more;
    std::string_view payload;  // valid until the next feed() or next()
};

// What a server sent: first the head of its answer, then frames.
class Reader {
  public:
    void feed(std::string_view bytes);
    // Compression was offered, and messages may be so if it is taken.
    void take_compressed() { may_compress_ = true; }
    // The next whole frame. False: more bytes are needed, or `fault` says what broke the protocol.
    [[nodiscard]] bool next(Frame& frame);

    [[nodiscard]] bool inside_frame() const { return status_ == 101 && at_ < rest_.size(); }
    [[nodiscard]] int status() const { return status_; }  // 0: no answer yet
    [[nodiscard]] const std::string& fault() const { return fault_; }
    [[nodiscard]] bool closed() const { return closed_; }  // its close frame was read

  private:
    void read_head();
    bool fail(const char* what);

    std::string rest_;
    std::size_t at_ = 0;
    std::string fault_;
    std::string plain_;  // what was compressed
    bool may_compress_ = false;
    int status_ = 0;
    bool closed_ = false;
};

// One frame from a client, masked with `key`.
[[nodiscard]] std::string client_frame(Op op,
                                       std::string_view payload,
                                       std::uint32_t key,
                                       bool fin = true);
// A data frame whose payload is compressed: permessage-deflate without context (RFC 7692).
[[nodiscard]] std::string compressed_frame(Op op, std::string_view payload, std::uint32_t key);
[[nodiscard]] std::string client_close(std::uint16_t code, std::uint32_t key);
// `compress`: compression is offered.
[[nodiscard]] std::string upgrade_request(std::string_view target, bool compress = false);

// The top-level members of a flat walk over one JSON object. Numbers and strings as they stand
// (strings without quotes); `payload` whole.
struct Envelope {
    bool valid = false;
    std::string_view type, id, topic, key, encoding, payload;
    std::uint64_t offset = 0;
};
[[nodiscard]] Envelope read_envelope(std::string_view text);
// A member of an object, as it stands; empty if it is not there.
[[nodiscard]] std::string_view member(std::string_view object, std::string_view name);
// The elements of an array, as they stand; false when it is none.
[[nodiscard]] bool elements(std::string_view array, std::vector<std::string_view>& into);
[[nodiscard]] std::uint64_t number(std::string_view digits);
[[nodiscard]] std::string key_name(std::uint32_t key);
[[nodiscard]] std::string base64(std::string_view bytes);

}  // namespace ringcast::sim
