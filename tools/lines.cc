#include "lines.h"

namespace ringcast::tools {

void Lines::add(std::string_view bytes) noexcept {
    text_.erase(0, start_);
    start_ = 0;
    const std::size_t from = text_.size();
    text_ += bytes;
    look(has_line() ? 0 : from);
}

void Lines::finish() noexcept {
    if (text_.size() > start_ && text_.back() != '\n') add("\n");
}

bool Lines::take(std::string_view& line) noexcept {
    if (!has_line()) return false;
    line = std::string_view(text_).substr(start_, newline_ - start_);
    start_ = newline_ + 1;
    look(start_);
    return true;
}

}  // namespace ringcast::tools
