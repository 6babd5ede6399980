#include "wire/mask.h"

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
    #include <immintrin.h>
#endif

namespace ringcast::wire {

namespace {

static_assert(std::endian::native == std::endian::little, "byte 0 of the key is the lowest byte");

// The key as it applies to a byte `phase` bytes into the payload, repeated.
std::uint64_t repeated(const MaskKey& key, std::size_t phase) noexcept {
    std::uint32_t word = 0;
    std::memcpy(&word, key.data(), sizeof(word));
    word = std::rotr(word, static_cast<int>(8 * (phase & 3)));
    return (static_cast<std::uint64_t>(word) << 32) | word;
}

// All loops below step by multiples of four, so the same word fits everywhere.
void mask_words(std::byte* at, std::size_t size, std::uint64_t word) noexcept {
    while (size >= sizeof(word)) {
        std::uint64_t value = 0;
        std::memcpy(&value, at, sizeof(value));
        value ^= word;
        std::memcpy(at, &value, sizeof(value));
        at += sizeof(value);
        size -= sizeof(value);
    }
    if (size >= 4) {
        std::uint32_t value = 0;
        std::memcpy(&value, at, sizeof(value));
        value ^= static_cast<std::uint32_t>(word);
        std::memcpy(at, &value, sizeof(value));
        at += sizeof(value);
        size -= sizeof(value);
    }
    for (std::size_t i = 0; i < size; i++) {
        at[i] ^= static_cast<std::byte>((word >> (8 * i)) & 0xff);
    }
}

#if defined(__x86_64__)

void mask_sse2(std::byte* at, std::size_t size, std::uint64_t word) noexcept {
    const __m128i key = _mm_set1_epi64x(static_cast<long long>(word));
    while (size >= sizeof(key)) {
        auto* block = reinterpret_cast<__m128i*>(at);
        _mm_storeu_si128(block, _mm_xor_si128(_mm_loadu_si128(block), key));
        at += sizeof(key);
        size -= sizeof(key);
    }
    mask_words(at, size, word);
}

__attribute__((target("avx2"))) void mask_avx2(std::byte* at,
                                               std::size_t size,
                                               std::uint64_t word) noexcept {
    const __m256i key = _mm256_set1_epi64x(static_cast<long long>(word));
    constexpr std::size_t step = 4 * sizeof(key);
    while (size >= step) {
        auto* block = reinterpret_cast<__m256i*>(at);
        const __m256i first = _mm256_xor_si256(_mm256_loadu_si256(block), key);
        const __m256i second = _mm256_xor_si256(_mm256_loadu_si256(block + 1), key);
        const __m256i third = _mm256_xor_si256(_mm256_loadu_si256(block + 2), key);
        const __m256i fourth = _mm256_xor_si256(_mm256_loadu_si256(block + 3), key);
        _mm256_storeu_si256(block, first);
        _mm256_storeu_si256(block + 1, second);
        _mm256_storeu_si256(block + 2, third);
        _mm256_storeu_si256(block + 3, fourth);
        at += step;
        size -= step;
    }
    _mm256_zeroupper();
    mask_sse2(at, size, word);
}

#endif

}  // namespace

void apply_mask(MutBytes data, const MaskKey& key, std::size_t phase) noexcept {
    const std::uint64_t word = repeated(key, phase);
#if defined(__x86_64__)
    // Below this the wider loop does not run even once.
    constexpr std::size_t wide_size_min = 256;
    if (data.size() >= wide_size_min && __builtin_cpu_supports("avx2")) {
        mask_avx2(data.data(), data.size(), word);
    } else {
        mask_sse2(data.data(), data.size(), word);
    }
#else
    mask_words(data.data(), data.size(), word);
#endif
}

void apply_mask_scalar(MutBytes data, const MaskKey& key, std::size_t phase) noexcept {
    for (std::size_t i = 0; i < data.size(); i++) {
        data[i] ^= key[(phase + i) & 3];
    }
}

}  // namespace ringcast::wire
