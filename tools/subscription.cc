#include "subscription.h"

#include "ws_client.h"

namespace ringcast::tools {

std::string topic_path(const Url& url, std::string_view path, std::string_view topic) noexcept {
    std::string prefix = url.path;
    if (prefix.ends_with('/')) prefix.pop_back();
    return prefix + with_replaced(path, "{topic}", percent_encoded(topic));
}

Subscription::Subscription(const BenchOptions& options) noexcept
    : message_(options.subscribe_message), reply_(options.subscribe_reply) {
    for (std::uint32_t i = 0; i < options.topics; i++) {
        topics_.push_back(options.topic_prefix + std::to_string(i));
        paths_.push_back(topic_path(options.url, options.subscribe_path, topics_.back()));
    }
}

std::string Subscription::request(std::uint32_t index, std::uint32_t topic) const noexcept {
    std::string frame;
    if (message_.empty()) return frame;
    std::string text = with_replaced(message_, "{index}", std::to_string(index));
    text = with_replaced(text, "{topic}", topics_[topic]);
    append_frame(frame, Opcode::text, as_bytes(text), 0x2545f491 ^ index);
    return frame;
}

bool Subscription::is_reply(std::string_view text) const noexcept {
    return has_reply() && text.find(reply_) != text.npos;
}

}  // namespace ringcast::tools
