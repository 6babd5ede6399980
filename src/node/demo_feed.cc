#include "node/demo_feed.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/scratch.h"

namespace ringcast::node {

namespace {

constexpr std::uint32_t changes_per_tick = 10;
constexpr std::uint32_t ticks_per_sale = 100;  // five seconds
constexpr std::int64_t cents = 100;

constexpr std::array<const char*, DemoFeed::keys> names{
    "apples",    "apricots", "artichokes", "asparagus", "aubergines", "bananas", "basil",
    "beans",     "beetroot", "broccoli",   "cabbage",   "carrots",    "celery",  "cherries",
    "chestnuts", "corn",     "cucumbers",  "dates",     "fennel",     "figs",    "garlic",
    "ginger",    "grapes",   "leeks",      "lemons",    "lentils",    "lettuce", "melons",
    "mushrooms", "olives",   "onions",     "oranges",   "parsley",    "peaches", "pears",
    "peas",      "plums",    "potatoes",   "quinces",   "radishes"};

}  // namespace

TopicRule demo_rule() noexcept {
    TopicRule rule;
    rule.pattern = demo_topic;
    rule.keyed = true;
    rule.keys_max = DemoFeed::keys;
    rule.keys_bytes = 64 * units::kib;
    RC_CHECK(check_topic_rule(rule).empty());
    return rule;
}

DemoFeed::DemoFeed(io::Reactor& reactor, Hub& hub) noexcept : hub_(hub), chance_(reactor.random()) {
    for (Price& price : prices_) {
        price.first = price.now = static_cast<std::int64_t>(chance_.between(1, 40)) * cents;
    }
}

void DemoFeed::tick() noexcept {
    if (ticks_++ == 0) {
        for (std::uint32_t key = 0; key < keys; key++) {
            change(key);
        }
        return;
    }
    for (std::uint32_t i = 0; i < changes_per_tick; i++) {
        const auto key = static_cast<std::uint32_t>(chance_.below(keys));
        if (key != sold_out_) change(key);
    }
    if (ticks_ % ticks_per_sale == 0) sell_out();
}

// By up to half a per cent, or a cent where that is less.
void DemoFeed::change(std::uint32_t key) noexcept {
    Price& price = prices_[key];
    const auto most = static_cast<std::uint64_t>(std::max<std::int64_t>(price.now / 200, 1));
    price.now += static_cast<std::int64_t>(chance_.between(0, 2 * most));
    price.now = std::max<std::int64_t>(price.now - static_cast<std::int64_t>(most), 1);
    const std::int64_t by = price.now - price.first;
    Scratch<char, 96> text;
    const int size = std::snprintf(text.data(),
                                   text.size(),
                                   "{\"price\":%lld.%02lld,\"change\":%s%lld.%02lld}",
                                   static_cast<long long>(price.now / cents),
                                   static_cast<long long>(price.now % cents),
                                   by < 0 ? "-" : "",
                                   std::llabs(by) / cents,
                                   std::llabs(by) % cents);
    RC_CHECK(size > 0);
    RC_CHECK(static_cast<std::size_t>(size) < text.size());
    publish(key, {text.data(), static_cast<std::size_t>(size)});
}

void DemoFeed::sell_out() noexcept {
    const std::uint32_t back = std::exchange(sold_out_, none);
    if (back != none) change(back);
    do {
        sold_out_ = static_cast<std::uint32_t>(chance_.below(keys));
    } while (sold_out_ == back);
    publish(sold_out_, "null");
}

void DemoFeed::publish(std::uint32_t key, std::string json) noexcept {
    // The parser reads past the end (wire::payload_padding).
    const std::size_t size = json.size();
    json.append(wire::payload_padding, ' ');
    hub_.publish(io::no_conn,
                 {.topic = demo_topic,
                  .key = names[key],
                  .payload = as_bytes(json).first(size),
                  .json = true});
}

}  // namespace ringcast::node
