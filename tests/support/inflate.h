#pragma once

// One message of permessage-deflate, the slow and obvious way: zlib over the payload and the four
// octets that are left out of it, in a window as large as there is. And the way back.

#include <cstring>
#include <string>
#include <string_view>

#include <zlib.h>

namespace ringcast::test {

// False if it is none.
inline bool inflate_message(std::string_view message, std::string& plain) {
    std::string whole(message);
    whole.append("\x00\x00\xff\xff", 4);
    z_stream stream{};
    if (inflateInit2(&stream, -15) != Z_OK) return false;
    stream.next_in = reinterpret_cast<Bytef*>(whole.data());
    stream.avail_in = static_cast<uInt>(whole.size());
    plain.clear();
    int result = Z_OK;
    do {
        char room[4096];
        stream.next_out = reinterpret_cast<Bytef*>(room);
        stream.avail_out = sizeof room;
        result = ::inflate(&stream, Z_SYNC_FLUSH);
        plain.append(room, sizeof room - stream.avail_out);
    } while (result == Z_OK && stream.avail_out == 0);
    const bool sound = (result == Z_OK || result == Z_BUF_ERROR) && stream.avail_in == 0;
    inflateEnd(&stream);
    return sound;
}

// Compresses messages as a client does, with context from one to the next if it is kept alive.
class Compressor {
  public:
    explicit Compressor(int window_bits = 15, int level = 6, int strategy = Z_DEFAULT_STRATEGY) {
        deflateInit2(&stream_, level, Z_DEFLATED, -window_bits, 8, strategy);
    }
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;
    ~Compressor() { deflateEnd(&stream_); }

    // `flush`: Z_SYNC_FLUSH, or Z_FINISH for one that ends with a final block (RFC 7692, 7.2.3.4).
    std::string message(std::string_view plain, int flush = Z_SYNC_FLUSH) {
        std::string out(plain.size() + plain.size() / 64 + 256, '\0');
        std::string in(plain);
        stream_.next_in = reinterpret_cast<Bytef*>(in.data());
        stream_.avail_in = static_cast<uInt>(in.size());
        stream_.next_out = reinterpret_cast<Bytef*>(out.data());
        stream_.avail_out = static_cast<uInt>(out.size());
        deflate(&stream_, flush);
        out.resize(out.size() - stream_.avail_out);
        if (flush == Z_FINISH) {
            deflateReset(&stream_);
            return out + '\0';
        }
        out.resize(out.size() - 4);
        return out;
    }

  private:
    z_stream stream_{};
};

}  // namespace ringcast::test
