#include "base/copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace ringcast {

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t trap_distance_max = 15;

// glibc 2.36 turns to rep movsb at 2,048 bytes at the earliest (sysdeps/x86/dl-cacheinfo.h,
// rep_movsb_threshold); below, it uses the widest vectors that the machine has.
constexpr std::size_t part_size_max = 1024;

void copy_in_parts(std::byte* target, const std::byte* source, std::size_t size) noexcept {
    while (size != 0) {
        std::size_t part_size = std::min(size, part_size_max);
        // Or else gcc, knowing the size, writes "rep movsq" here: the very thing to be avoided.
        __asm__("" : "+r"(part_size));
        std::memcpy(target, source, part_size);
        target += part_size;
        source += part_size;
        size -= part_size;
    }
}

}  // namespace

void copy_bytes(std::byte* target, const std::byte* source, std::size_t size) noexcept {
    const auto distance =
        reinterpret_cast<std::uintptr_t>(target) - reinterpret_cast<std::uintptr_t>(source);
    // 1 to trap_distance_max: 0 less one is far more.
    const bool is_trap = distance % page_size - 1 < trap_distance_max;
    if (is_trap && size > part_size_max) {
        copy_in_parts(target, source, size);
    } else if (size != 0) {  // memcpy from nullptr is undefined even for nothing
        std::memcpy(target, source, size);
    }
}

}  // namespace ringcast
