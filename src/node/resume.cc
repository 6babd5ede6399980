#include "node/resume.h"

#include <algorithm>

#include "base/plant.h"

namespace ringcast::node {

Begin begin_of(const feed::Topic& topic, const feed::Lane& lane, const Resume& resume) noexcept {
    const feed::Seq next = lane.next();
    const bool same = resume.wanted && resume.epoch == topic.epoch && resume.offset < next;
    if (lane.keyed() && same && lane.compact().recoverable(resume.offset + 1)) {
        return {.seq = resume.offset + 1, .recovered = true};
    }
    if (lane.keyed() && resume.snapshot) return {.seq = 1, .snapshot = true};
    if (!resume.wanted) return {.seq = next};
    if (resume.epoch != topic.epoch) return {.seq = next, .reason = "new_epoch", .from = 1};
    if (resume.offset >= next) return {.seq = next, .reason = "unknown_offset", .from = next};
    const feed::Seq wanted = resume.offset + 1;
    if (lane.keyed() || (wanted < lane.recoverable_from() && !RC_PLANT(27))) {
        return {.seq = next, .reason = "history", .from = wanted};
    }
    return {.seq = std::max(wanted, lane.log().first()), .recovered = true};
}

}  // namespace ringcast::node
