#pragma once

// Whose a session is: what its token said, and until when.

#include <cstddef>
#include <string>

#include "ringcast/token.h"

#include "base/time.h"
#include "node/bucket.h"

namespace ringcast::node {

struct Identity {
    TokenClaims claims;
    Nanos expires_at = 0;  // Reactor::now(): the wall clock may jump, this does not
    Rate messages;         // that it may send: no more than configured

    // Memory of it, about.
    [[nodiscard]] std::size_t held_bytes() const noexcept {
        std::size_t held = sizeof(Identity) + 64 + claims.user.capacity() + claims.info.capacity();
        for (const auto* list : {&claims.subscribe, &claims.publish, &claims.presence}) {
            for (const std::string& pattern : *list) {
                held += sizeof(std::string) + pattern.capacity() + 1;
            }
        }
        return held;
    }
};

}  // namespace ringcast::node
