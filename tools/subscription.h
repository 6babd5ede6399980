#pragma once

// How a bench connection becomes a subscriber: which path it asks for, what it says then, and what
// tells that it is one. From templates, so that it works with other servers too.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "options.h"

namespace ringcast::tools {

class Subscription {
  public:
    explicit Subscription(const BenchOptions& options) noexcept;

    [[nodiscard]] const std::string& path(std::uint32_t topic) const noexcept {
        return paths_[topic];
    }
    [[nodiscard]] const std::string& topic(std::uint32_t topic) const noexcept {
        return topics_[topic];
    }
    // The frame that connection `index` sends first; empty if the path says it all.
    [[nodiscard]] std::string request(std::uint32_t index, std::uint32_t topic) const noexcept;
    // Whether an answer has to come before the subscription counts, and whether `text` is it.
    [[nodiscard]] bool has_reply() const noexcept { return !reply_.empty(); }
    [[nodiscard]] bool is_reply(std::string_view text) const noexcept;

  private:
    std::string message_;
    std::string reply_;
    std::vector<std::string> topics_;
    std::vector<std::string> paths_;
};

// `path` below the path of the URL, with the topic filled in.
[[nodiscard]] std::string topic_path(const Url& url,
                                     std::string_view path,
                                     std::string_view topic) noexcept;

}  // namespace ringcast::tools
