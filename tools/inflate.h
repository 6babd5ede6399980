#pragma once

// Inflates what a server compressed (RFC 7692), one message by itself. For whoever judges a server:
// it shares no code with src/wire. One thread owns an Inflate.

#include <memory>
#include <string>

#include "base/bytes.h"

struct z_stream_s;

namespace ringcast::tools {

class Inflate {
  public:
    Inflate() noexcept;
    ~Inflate();
    Inflate(const Inflate&) = delete;
    Inflate& operator=(const Inflate&) = delete;

    // `plain`: what `message` was before it was compressed. False if it is none, or grows to more
    // than frame_payload_max.
    [[nodiscard]] bool message(Bytes message, std::string& plain) noexcept;

  private:
    std::unique_ptr<z_stream_s> stream_;
};

}  // namespace ringcast::tools
