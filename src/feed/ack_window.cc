#include "feed/ack_window.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/plant.h"

namespace ringcast::feed {

namespace {

[[nodiscard]] bool is_past(Tick now, Tick moment) noexcept {
    return static_cast<std::int32_t>(now - moment) >= 0;
}

}  // namespace

std::uint64_t AckWindow::number_of(Seq seq) const noexcept {
    const auto at = std::lower_bound(
        demands_.begin(), demands_.end(), seq, [](const Demand& demand, Seq wanted) {
            return demand.seq < wanted;
        });
    return first_number_ + static_cast<std::uint64_t>(at - demands_.begin());
}

void AckWindow::remove_row(std::uint32_t row) noexcept {
    RC_CHECK(row < rows_.size());
    if (rows_[row].asks) asking_--;
    rows_[row] = rows_.back();
    rows_.pop_back();
}

void AckWindow::demand(Seq seq, Tick expires) noexcept {
    RC_CHECK(demands_.empty() || demands_.back().seq < seq);
    demands_.push_back({.seq = seq, .expires = expires});
}

void AckWindow::demand_older(std::span<const Seq> seqs, Tick expires) noexcept {
    RC_CHECK(seqs.size() < first_number_);
    for (std::size_t i = seqs.size(); i > 0; i--) {
        RC_CHECK(demands_.empty() || seqs[i - 1] < demands_.front().seq);
        demands_.push_front({.seq = seqs[i - 1], .expires = expires});
        first_number_--;
    }
}

std::vector<Seq> AckWindow::ask(std::uint32_t row,
                                Seq from,
                                std::span<const Seq> open,
                                Tick now) noexcept {
    Row& at = rows_[row];
    RC_CHECK(!at.asks);
    asking_++;
    const std::uint64_t end = number_of(from);
    at = {.base = end, .mark = end, .asks = true};
    std::vector<Seq> missed;
    for (std::size_t i = open.size(); i > 0; i--) {
        const std::uint64_t number = number_of(open[i - 1]);
        const bool there = number < end && numbered(number).seq == open[i - 1];
        if (!there || end - number > span) {
            missed.push_back(open[i - 1]);
            continue;
        }
        // Everything between this one and the one behind it counts as confirmed.
        const std::uint64_t moved = at.base - number;
        at.bits = moved >= span ? 0 : at.bits << moved;
        for (std::uint64_t bit = 1; bit < moved; bit++) {
            at.bits |= std::uint64_t{1} << bit;
        }
        at.base = number;
        at.waits = true;
        at.due = now;
    }
    return missed;
}

void AckWindow::stop(std::uint32_t row) noexcept {
    if (rows_[row].asks) asking_--;
    rows_[row] = {};
}

Seq AckWindow::limit(std::uint32_t row) const noexcept {
    const Row& at = rows_[row];
    if (!at.asks || at.base + span >= end_number()) return UINT64_MAX;
    return numbered(at.base + span).seq;
}

// `base` moves on; what is behind it keeps its bits.
void AckWindow::advance(Row& at, std::uint64_t base) noexcept {
    RC_CHECK(base >= at.base);
    const std::uint64_t moved = base - at.base;
    at.bits = moved >= span ? 0 : at.bits >> moved;
    at.base = base;
}

void AckWindow::pass_confirmed(Row& at) noexcept {
    const auto count = static_cast<std::uint32_t>(std::countr_one(at.bits));
    if (count == 0) return;
    advance(at, at.base + count);
    at.round = 0;  // it answers
}

std::uint32_t AckWindow::confirm(std::uint32_t row, Seq seq, bool all_before, Seq sent) noexcept {
    Row& at = rows_[row];
    if (!at.asks || seq >= sent) return 0;
    const std::uint64_t number = number_of(seq);
    const bool known = number < end_number() && numbered(number).seq == seq;
    if (!all_before) {
        if (!known || confirmed(at, number) || number - at.base >= span) return 0;
        if (!RC_PLANT(40)) at.bits |= std::uint64_t{1} << (number - at.base);
        pass_confirmed(at);
        return 1;
    }
    const std::uint64_t end = known ? number + 1 : number;
    std::uint32_t count = 0;
    for (std::uint64_t i = at.base; i < end; i++) {
        if (!confirmed(at, i)) count++;
    }
    if (count == 0) return 0;
    advance(at, end);
    at.round = 0;
    pass_confirmed(at);
    return count;
}

void AckWindow::miss_below(Row& at, std::uint64_t number) noexcept {
    for (std::uint64_t i = std::max(at.base, first_number_); i < number; i++) {
        if (!confirmed(at, i)) numbered(i).missed++;
    }
    if (number > at.base) advance(at, number);
    const auto count = static_cast<std::uint32_t>(std::countr_one(at.bits));
    advance(at, at.base + count);
}

AckWindow::Due AckWindow::look(std::uint32_t row,
                               Seq sent,
                               Tick now,
                               const Policy& policy) noexcept {
    Row& at = rows_[row];
    if (!at.asks) return Due::nothing;
    const std::uint64_t out = number_of(sent);
    if (at.base >= out) {  // nothing is out
        at.waits = false;
        at.round = 0;
        return Due::nothing;
    }
    if (!at.waits) {
        at.waits = true;
        at.mark = out;
        at.due = now + policy.timeout;
        return Due::nothing;
    }
    if (!is_past(now, at.due)) return Due::nothing;
    if (at.base >= at.mark) {  // all that was out when the wait began is confirmed
        at.mark = out;
        at.due = now + policy.timeout;
        return Due::nothing;
    }
    if (at.round >= policy.rounds) {
        miss_below(at, at.mark);
        at.round = 0;
        at.waits = false;
        return Due::nothing;
    }
    return Due::again;
}

void AckWindow::sent_again(std::uint32_t row, Seq sent, Tick now, const Policy& policy) noexcept {
    Row& at = rows_[row];
    at.round++;
    at.mark = number_of(sent);
    const std::uint64_t wait = std::uint64_t{policy.timeout} << std::min(at.round, 31U);
    at.due = now + static_cast<Tick>(
                       std::min<std::uint64_t>(wait, std::max(policy.timeout, policy.timeout_max)));
}

void AckWindow::skip(std::uint32_t row, Seq seq) noexcept {
    Row& at = rows_[row];
    if (at.asks) miss_below(at, number_of(seq));
}

// The number of the first demand that somebody may still confirm.
std::uint64_t AckWindow::miss_until(Tick now, Seq first, bool& more) noexcept {
    std::uint64_t gone = first_number_;
    while (gone < end_number() &&
           (numbered(gone).seq < first || is_past(now, numbered(gone).expires))) {
        more = gone - first_number_ == expiries_max;
        if (more) break;
        gone++;
    }
    std::uint64_t needed = end_number();
    for (Row& at : rows_) {
        if (!at.asks) continue;
        if (at.base < gone) miss_below(at, gone);
        needed = std::min(needed, at.base);
    }
    return needed;
}

}  // namespace ringcast::feed
