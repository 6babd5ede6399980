#include "wire/deflate.h"

#include <algorithm>
#include <bit>
#include <limits>

#include <zlib.h>

#include "base/check.h"

namespace ringcast::wire {

namespace {

// What every message is sent without (section 7.2.1).
constexpr std::array<std::byte, 4> tail{std::byte{0x00},
                                        std::byte{0x00},
                                        std::byte{0xff},
                                        std::byte{0xff}};
// zlib loses so much of a window to its look-ahead (MIN_LOOKAHEAD).
constexpr std::size_t look_ahead = 262;
// z_stream::data_type: inflate() stopped right behind the end of a block, which was the last of its
// stream, with so many bits left over.
constexpr int between_blocks = 128;
constexpr int last_block = 64;
constexpr int bits_left = 63;

void give(z_stream& stream, Bytes in) noexcept {
    RC_CHECK(in.size() <= std::numeric_limits<uInt>::max());
    // zlib does not write there, but says so only where ZLIB_CONST is defined for all who link it.
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));
    stream.avail_in = static_cast<uInt>(in.size());
}

void take(z_stream& stream, MutBytes out) noexcept {
    RC_CHECK(out.size() <= std::numeric_limits<uInt>::max());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
}

}  // namespace

InflateStream::InflateStream(std::uint8_t window_bits, Context context) noexcept
    // A client that agreed to 8 may use 9, since that is what zlib makes of 8.
    : window_bits_(std::max<std::uint8_t>(window_bits, 9)), context_(context) {
    RC_CHECK(window_bits >= 8);
    RC_CHECK(window_bits <= 15);
}

InflateStream::~InflateStream() {
    if (stream_ != nullptr) inflateEnd(stream_.get());
}

// Ready for the next message. False: no memory.
bool InflateStream::start() noexcept {
    if (stream_ == nullptr) {
        stream_ = std::make_unique<z_stream>();
        if (inflateInit2(stream_.get(), -window_bits_) == Z_OK) return true;
        stream_.reset();
        return false;
    }
    // A final block ends a stream, not the window (section 7.2.3.4): the Keep of the name.
    int done = Z_OK;
    if (context_ == Context::none) {
        done = inflateReset(stream_.get());
    } else if (ended_) {
        done = inflateResetKeep(stream_.get());
    }
    RC_CHECK(done == Z_OK);
    return true;
}

InflateStream::Step InflateStream::feed(Bytes piece) noexcept {
    z_stream& stream = *stream_;
    give(stream, piece);
    bool at_end = false;  // of a final block: the next call says so, with nothing more to read
    while (stream.avail_in != 0 || at_end) {
        const int result = inflate(&stream, Z_BLOCK);  // to the end of a block at most
        if (result == Z_MEM_ERROR) return Step::no_memory;
        if (result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END) return Step::corrupt;
        if (stream.avail_out == 0) return Step::too_large;
        at_end = false;
        if (result == Z_STREAM_END) {
            if (stream.avail_in == 0) return Step::ended;
            // Behind a final block another stream may follow, and takes an octet at least.
            const int done = inflateResetKeep(&stream);
            RC_CHECK(done == Z_OK);
        } else if ((stream.data_type & between_blocks) != 0) {
            if (++blocks_ > blocks_max_) return Step::wasteful;
            at_end = (stream.data_type & last_block) != 0;
        } else {
            RC_CHECK(stream.avail_in == 0);  // there was room, so it took all
        }
    }
    return Step::more;
}

Inflated InflateStream::message(Bytes payload, MutBytes out, std::size_t& size) noexcept {
    RC_CHECK(!out.empty());
    size = 0;
    blocks_ = 0;
    blocks_max_ = blocks_max(out.size());
    if (!start()) return Inflated::no_memory;
    take(*stream_, out);
    Step step = feed(payload);
    // A compressor that ended its stream with the last octet had nothing to leave out.
    ended_ = step == Step::ended;
    if (step == Step::more) {
        step = feed(tail);
        const bool clean = (stream_->data_type & (between_blocks | bits_left)) == between_blocks;
        if (step == Step::ended || (step == Step::more && !clean)) step = Step::corrupt;
    }
    switch (step) {
        case Step::more:
        case Step::ended:
            break;
        case Step::too_large:
            return Inflated::too_large;
        case Step::corrupt:
            return Inflated::corrupt;
        case Step::wasteful:
            return Inflated::wasteful;
        case Step::no_memory:
            return Inflated::no_memory;
    }
    size = out.size() - stream_->avail_out;
    return Inflated::whole;
}

Deflater::Deflater(int level) noexcept : level_(level) {
    RC_CHECK(level >= 1);
    RC_CHECK(level <= 9);
}

Deflater::~Deflater() {
    for (const auto& stream : streams_) {
        if (stream != nullptr) deflateEnd(stream.get());
    }
}

z_stream_s* Deflater::stream_for(std::uint8_t bits) noexcept {
    std::unique_ptr<z_stream>& stream = streams_[bits - bits_min];
    if (stream != nullptr) {
        const int done = deflateReset(stream.get());
        RC_CHECK(done == Z_OK);
        return stream.get();
    }
    stream = std::make_unique<z_stream>();
    // Beginning anew costs as much as its hash table, so that is no larger than the window asks.
    const int result =
        deflateInit2(stream.get(), level_, Z_DEFLATED, -int{bits}, bits - 7, Z_DEFAULT_STRATEGY);
    if (result != Z_OK) stream.reset();
    return stream.get();
}

std::size_t Deflater::message(Bytes payload, std::uint8_t window_bits, MutBytes out) noexcept {
    RC_CHECK(window_bits >= bits_min);
    RC_CHECK(window_bits <= 15);
    // No larger than the message needs.
    const auto needed = static_cast<std::uint8_t>(
        std::min<std::size_t>(std::bit_width(payload.size() + look_ahead), 15));
    const std::uint8_t bits = std::min(std::max(needed, bits_min), window_bits);
    z_stream* stream = stream_for(bits);
    if (stream == nullptr) return 0;
    give(*stream, payload);
    take(*stream, out);
    const int result = deflate(stream, Z_SYNC_FLUSH);
    // With room left over the flush is complete.
    if (result != Z_OK || stream->avail_out == 0) return 0;
    RC_CHECK(stream->avail_in == 0);
    const std::size_t size = out.size() - stream->avail_out;
    RC_CHECK(size > tail.size());
    RC_CHECK(std::equal(tail.begin(), tail.end(), out.data() + (size - tail.size())));
    return size - tail.size();
}

}  // namespace ringcast::wire
