#pragma once

// Masking (RFC 6455, section 5.3): byte i of a payload is XORed with byte i mod 4 of the key.
// Unmasking is the same operation. In place, any alignment, any size; nothing outside `data` is
// read or written.

#include <cstddef>

#include "base/bytes.h"
#include "wire/frame.h"

namespace ringcast::wire {

// `phase`: how many bytes of the payload came before `data` (only its low two bits matter).
void apply_mask(MutBytes data, const MaskKey& key, std::size_t phase) noexcept;

// The definition, a byte at a time: what apply_mask() is tested against.
void apply_mask_scalar(MutBytes data, const MaskKey& key, std::size_t phase) noexcept;

}  // namespace ringcast::wire
