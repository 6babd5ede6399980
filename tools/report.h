#pragma once

// The result of a run: figures added once, printed as a table for people (stdout) and written as
// JSON for programs, every input included, so that a run can be repeated.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/histogram.h"
#include "options.h"

namespace ringcast::tools {

class Report {
  public:
    explicit Report(std::string_view verb) noexcept;

    // A new group of both forms.
    void section(std::string_view name) noexcept;

    // A figure; without a label it is only in the JSON. `shown` replaces its plain form.
    void add(std::string_view key,
             std::uint64_t value,
             std::string_view label = {},
             std::string_view shown = {}) noexcept;
    void add(std::string_view key,
             double value,
             std::string_view label = {},
             std::string_view shown = {}) noexcept;
    void add(std::string_view key, std::string_view value, std::string_view label = {}) noexcept;
    void add_flag(std::string_view key, bool value) noexcept;
    // Percentiles in microseconds, as one row and one object.
    void add(std::string_view key, const Histogram& histogram, std::string_view label) noexcept;
    // What every verb has in common: the inputs.
    void add_inputs(const BenchOptions& options) noexcept;
    // A line of its own under the table; "warnings" in the JSON.
    void warn(std::string_view text) noexcept;

    void print() const noexcept;
    [[nodiscard]] std::string json() const noexcept;
    // Prints, and writes the JSON if a file was named; false if that fails.
    [[nodiscard]] bool publish(const std::string& json_file) const noexcept;

  private:
    struct Row {
        std::string section;
        std::string key;
        std::string json;
        std::string label;
        std::string shown;
    };

    void add_row(std::string_view key,
                 std::string json,
                 std::string_view label,
                 std::string_view shown) noexcept;

    std::string verb_;
    std::string section_;
    std::vector<Row> rows_;
    std::vector<std::string> warnings_;
};

// 1234567 as "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t value) noexcept;
// Nanoseconds as "850 ns", "12.3 us", "4.56 ms" or "7.89 s".
[[nodiscard]] std::string time_text(double nanos) noexcept;
[[nodiscard]] std::string bytes_text(double bytes) noexcept;
[[nodiscard]] std::string number_text(double value, int digits) noexcept;
[[nodiscard]] std::string json_text(std::string_view text) noexcept;

}  // namespace ringcast::tools
