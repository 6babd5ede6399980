#include "inflate.h"

#include <algorithm>

#include <zlib.h>

#include "base/check.h"
#include "ws_client.h"

namespace ringcast::tools {

Inflate::Inflate() noexcept : stream_(std::make_unique<z_stream>()) {
    const int done = inflateInit2(stream_.get(), -15);
    RC_CHECK(done == Z_OK);
}

Inflate::~Inflate() {
    inflateEnd(stream_.get());
}

bool Inflate::message(Bytes message, std::string& plain) noexcept {
    std::string whole(as_text(message));
    whole.append("\x00\x00\xff\xff", 4);  // what is left out on the wire
    z_stream& stream = *stream_;
    inflateReset(&stream);
    stream.next_in = reinterpret_cast<Bytef*>(whole.data());
    stream.avail_in = static_cast<uInt>(whole.size());
    plain.clear();
    int result = Z_OK;
    while (result == Z_OK && plain.size() <= frame_payload_max) {
        const std::size_t before = plain.size();
        plain.resize(before + std::max<std::size_t>(4 * whole.size(), 1024));
        stream.next_out = reinterpret_cast<Bytef*>(plain.data() + before);
        stream.avail_out = static_cast<uInt>(plain.size() - before);
        result = ::inflate(&stream, Z_SYNC_FLUSH);
        plain.resize(plain.size() - stream.avail_out);
        if (stream.avail_out != 0) break;
    }
    const bool sound = result == Z_OK || result == Z_BUF_ERROR;
    return sound && stream.avail_in == 0 && plain.size() <= frame_payload_max;
}

}  // namespace ringcast::tools
