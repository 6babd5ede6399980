#pragma once

// The demo page and what it needs, embedded at build (scripts/embed.py). Any thread.

#include <span>
#include <string_view>

namespace ringcast::node {

struct Asset {
    std::string_view path;  // "/", "/app.js"
    std::string_view content_type;
    std::string_view body;
    std::string_view etag;  // with its quotes
};

[[nodiscard]] std::span<const Asset> assets() noexcept;

}  // namespace ringcast::node
