#include "report.h"

#include <cmath>
#include <cstdio>

namespace ringcast::tools {

namespace {

constexpr double percents[] = {50, 90, 99, 99.9, 99.99};

std::string exact(double value) noexcept {
    char text[40];
    if (!std::isfinite(value)) return "null";
    std::snprintf(text, sizeof text, "%.10g", value);
    return text;
}

}  // namespace

std::string number_text(double value, int digits) noexcept {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string grouped(std::uint64_t value) noexcept {
    std::string text = std::to_string(value);
    for (std::size_t at = text.size(); at > 3; at -= 3) {
        text.insert(at - 3, 1, ',');
    }
    return text;
}

std::string time_text(double nanos) noexcept {
    if (nanos < 1e3) return number_text(nanos, 0) + " ns";
    if (nanos < 1e6) return number_text(nanos / 1e3, nanos < 1e5 ? 1 : 0) + " us";
    if (nanos < 1e9) return number_text(nanos / 1e6, nanos < 1e8 ? 2 : 0) + " ms";
    return number_text(nanos / 1e9, 2) + " s";
}

std::string bytes_text(double bytes) noexcept {
    if (bytes < 10'000) return number_text(bytes, 0) + " B";
    if (bytes < 1e7) return number_text(bytes / 1e3, 1) + " kB";
    if (bytes < 1e10) return number_text(bytes / 1e6, 1) + " MB";
    return number_text(bytes / 1e9, 2) + " GB";
}

std::string json_text(std::string_view text) noexcept {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
            result += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
            result += escape;
        } else {
            result += c;
        }
    }
    return result + "\"";
}

Report::Report(std::string_view verb) noexcept : verb_(verb) {}

void Report::section(std::string_view name) noexcept {
    section_ = name;
}

void Report::add_row(std::string_view key,
                     std::string json,
                     std::string_view label,
                     std::string_view shown) noexcept {
    rows_.push_back({.section = section_,
                     .key = std::string(key),
                     .json = std::move(json),
                     .label = std::string(label),
                     .shown = std::string(shown)});
}

void Report::add(std::string_view key,
                 std::uint64_t value,
                 std::string_view label,
                 std::string_view shown) noexcept {
    add_row(key, std::to_string(value), label, shown.empty() ? grouped(value) : shown);
}

void Report::add(std::string_view key,
                 double value,
                 std::string_view label,
                 std::string_view shown) noexcept {
    add_row(key, exact(value), label, shown.empty() ? number_text(value, 2) : shown);
}

void Report::add(std::string_view key, std::string_view value, std::string_view label) noexcept {
    add_row(key, json_text(value), label, value);
}

void Report::add_flag(std::string_view key, bool value) noexcept {
    add_row(key, value ? "true" : "false", {}, {});
}

void Report::add(std::string_view key,
                 const Histogram& histogram,
                 std::string_view label) noexcept {
    std::string json = "{\"count\": " + std::to_string(histogram.count()) +
                       ", \"mean\": " + exact(histogram.mean() / 1e3);
    std::string shown;
    for (const double percent : percents) {
        const auto value = static_cast<double>(histogram.percentile(percent));
        json += ", \"p" + exact(percent) + "\": " + exact(value / 1e3);
        shown += "p" + exact(percent) + " " + time_text(value) + "  ";
    }
    const auto max = static_cast<double>(histogram.max());
    json += ", \"max\": " + exact(max / 1e3) + "}";
    shown += "max " + time_text(max);
    add_row(key, json, label, histogram.count() == 0 ? std::string_view("-") : shown);
}

void Report::add_inputs(const BenchOptions& options) noexcept {
    section("inputs");
    add("url", options.url_text);
    add("connections", std::uint64_t{options.connections});
    add("concurrency", std::uint64_t{options.concurrency});
    add("ramp_per_s", options.ramp);
    add("sources", std::uint64_t{options.sources});
    add("congestion", options.congestion);
    add("slow_percent", std::uint64_t{options.slow_percent});
    add("slow_rate", options.slow_rate);
    add_flag("reconnect", options.reconnect);
    add("back_within_s", options.back_within_s);
    add("storm_after_s", options.storm_after_s);
    add("kills", options.kills);
    add("silence_s", options.silence_s);
    add("publish_url", options.publish_url_text);
    add("topics", std::uint64_t{options.topics});
    add("topic_prefix", options.topic_prefix);
    add("size", options.size);
    add("rate", options.rate);
    add("burst", std::uint64_t{options.burst});
    add("window", options.window);
    add("messages", options.messages);
    add("duration_s", options.duration_s);
    add("warmup", options.warmup);
    add("settle_s", options.settle_s);
    add("grace_s", options.grace_s);
    add_flag("binary", options.binary);
    add_flag("envelope", options.envelope);
    add_flag("compress", options.compress);
    add("subscribe_path", options.subscribe_path);
    add("publish_path", options.publish_path);
    add("subscribe_message", options.subscribe_message);
    add("subscribe_reply", options.subscribe_reply);
    add("publish_message", options.publish_message);
    add("echo_path", options.echo_path);
    add("inflight", std::uint64_t{options.inflight});
    add("hold_s", options.hold_s);
    add_flag("abort", options.abort);
    const KeyedOptions& keyed = options.keyed;
    add("keyed_topic", keyed.topic);
    add("keyed_keys", std::uint64_t{keyed.keys});
    add("keyed_slow", std::uint64_t{keyed.slow});
    add("keyed_slow_rate", keyed.slow_rate);
    add("keyed_publishers", std::uint64_t{keyed.publishers});
    add("keyed_size", keyed.size);
    add("keyed_rate", keyed.rate);
    add("keyed_duration_s", keyed.duration_s);
    add_flag("keyed_compare", keyed.compare);
    add_flag("check", options.check);
    add("server_pid", static_cast<std::uint64_t>(options.server_pid));
    add("cpu", static_cast<double>(options.cpu));
    add_flag("spin", options.spin);
}

void Report::warn(std::string_view text) noexcept {
    warnings_.emplace_back(text);
}

void Report::print() const noexcept {
    const Row* before = nullptr;
    for (const Row& row : rows_) {
        if (row.label.empty()) continue;
        if (before != nullptr && before->section != row.section) std::puts("");
        std::printf("%-20s %s\n", row.label.c_str(), row.shown.c_str());
        before = &row;
    }
    for (const std::string& warning : warnings_) {
        std::printf("\nwarning: %s\n", warning.c_str());
    }
    std::fflush(stdout);
}

std::string Report::json() const noexcept {
    std::string text = "{\n  \"verb\": " + json_text(verb_);
    std::string open;
    for (const Row& row : rows_) {
        const bool same = row.section == open;
        if (!same) {
            text += open.empty() ? ",\n  " : "\n  },\n  ";
            text += json_text(row.section) + ": {";
            open = row.section;
        }
        text += (same ? ",\n    " : "\n    ") + json_text(row.key) + ": " + row.json;
    }
    if (!open.empty()) text += "\n  }";
    text += ",\n  \"warnings\": [";
    for (std::size_t i = 0; i < warnings_.size(); i++) {
        text += (i == 0 ? "" : ", ") + json_text(warnings_[i]);
    }
    return text + "]\n}\n";
}

bool Report::publish(const std::string& json_file) const noexcept {
    print();
    if (json_file.empty()) return true;
    std::FILE* file = std::fopen(json_file.c_str(), "we");
    if (file == nullptr) {
        std::fprintf(stderr, "ringcast: cannot write %s\n", json_file.c_str());
        return false;
    }
    const std::string text = json();
    const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    return std::fclose(file) == 0 && written;
}

}  // namespace ringcast::tools
