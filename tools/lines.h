#pragma once

// What `ringcast pub` does with stdin, without the descriptors: cuts it into lines, and says when
// the next one may go.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/time.h"

namespace ringcast::tools {

class Lines {
  public:
    void add(std::string_view bytes) noexcept;
    // Nothing comes any more: what is left is a line, also without a newline behind it.
    void finish() noexcept;
    // Takes the next whole line, without its newline; false if there is none. The view holds until
    // the next call of anything.
    [[nodiscard]] bool take(std::string_view& line) noexcept;
    [[nodiscard]] bool has_line() const noexcept { return newline_ != text_.npos; }
    // Bytes that were added and not taken.
    [[nodiscard]] std::size_t size() const noexcept { return text_.size() - start_; }

  private:
    void look(std::size_t from) noexcept { newline_ = text_.find('\n', from); }

    std::string text_;
    std::size_t start_ = 0;
    std::size_t newline_ = std::string::npos;  // of the line at start_
};

// So many a second, evenly, and no faster after a pause: the welcome tells a server's rate, not how
// far one may run ahead of it.
class Pace {
  public:
    explicit Pace(double per_second) noexcept
        : interval_(per_second > 0 ? static_cast<Nanos>(1e9 / per_second) + 1 : 0) {}

    [[nodiscard]] Nanos due() const noexcept { return due_; }
    void take(Nanos now) noexcept { due_ = std::max(due_, now) + interval_; }

  private:
    const Nanos interval_;
    Nanos due_ = 0;
};

}  // namespace ringcast::tools
