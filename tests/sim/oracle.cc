#include "tests/sim/oracle.h"

#include <algorithm>
#include <utility>

namespace ringcast::sim {

namespace {

[[nodiscard]] bool is_quoted(std::string_view payload, std::string_view text) {
    return payload.size() == text.size() + 2 && payload.front() == '"' && payload.back() == '"' &&
           payload.substr(1, text.size()) == text;
}

// Byte `at` of body `n` is letter (7 * at + n) % 26. That is letter 7 * (at + 15 * n) % 26, so all
// bodies are pieces of one text.
[[nodiscard]] std::string body_of(std::uint32_t publication, std::size_t size) {
    constexpr std::string_view letters = "ahovcjqxelszgnubipwdkryfmt";
    std::string text = "N" + std::to_string(publication) + ":";
    text.reserve(size);
    std::size_t at = (text.size() + std::size_t{15} * publication) % letters.size();
    while (text.size() < size) {
        const std::size_t part = std::min(size - text.size(), letters.size() - at);
        text.append(letters, at, part);
        at = 0;
    }
    return text;
}

[[nodiscard]] unsigned digit_of(char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<unsigned>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<unsigned>(c - 'a') + 26;
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0') + 52;
    return c == '+' ? 62 : 63;
}

// The first bytes of what a base64 text holds: enough for a number.
[[nodiscard]] std::string head_of_base64(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i + 4 <= text.size() && out.size() < 12; i += 4) {
        unsigned group = 0;
        for (std::size_t j = 0; j < 4; j++) {
            group = (group << 6) | (digit_of(text[i + j]) & 63);
        }
        out += static_cast<char>((group >> 16) & 0xff);
        out += static_cast<char>((group >> 8) & 0xff);
        out += static_cast<char>(group & 0xff);
    }
    return out;
}

}  // namespace

void Reading::begin(std::uint64_t next_offset, Nanos now) {
    state = State::on;
    next = next_offset;
    last = none;
    clear_since = now;
    owed = {};
    latest.clear();
    last_of.clear();
}

// Where it stood is remembered, for those who come back.
void Reading::end() {
    state = State::off;
    by_name = false;
    owed = {};
}

std::uint32_t Reading::last_from(std::uint32_t client) const {
    for (const auto& [who, what] : last_of) {
        if (who == client) return what;
    }
    return none;
}

void Reading::remember(std::uint32_t client, std::uint32_t publication) {
    for (auto& [who, what] : last_of) {
        if (who != client) continue;
        what = publication;
        return;
    }
    last_of.emplace_back(client, publication);
}

Oracle::Oracle(std::uint32_t topic_count, bool keyed, std::uint32_t durable)
    : keyed_(keyed), durable_(durable), topics_(topic_count) {
    for (std::uint32_t topic = 0; topic < topic_count; topic++) {
        topics_[topic].name = "t" + std::to_string(topic) + std::string(topic * topic * 9, '-');
    }
}

std::uint32_t Oracle::topic_of(std::string_view name) const {
    for (std::uint32_t topic = 0; topic < topics_.size(); topic++) {
        if (topics_[topic].name == name) return topic;
    }
    return none;
}

std::uint32_t Oracle::add(const Publication& publication) {
    const std::uint32_t index = count();
    publications_.push_back(publication);
    touch(publication.topic, publication.sent_at);
    const std::size_t place = std::size_t{publication.client} * topics_.size() + publication.topic;
    if (place >= latest_.size()) latest_.resize(place + topics_.size(), none);
    publications_.back().before = std::exchange(latest_[place], index);
    publications_.back().body = body_of(index, publication.size);
    return index;
}

std::uint32_t Oracle::latest(std::uint32_t client, std::uint32_t topic) const {
    const std::size_t place = std::size_t{client} * topics_.size() + topic;
    return place < latest_.size() ? latest_[place] : none;
}

std::uint32_t Oracle::identify(std::string_view payload) const {
    if (!payload.empty() && payload.front() == '"') payload.remove_prefix(1);
    if (payload.size() < 3 || payload.front() != 'N') return none;
    const std::uint64_t value = number(payload.substr(1));
    return value < count() ? static_cast<std::uint32_t>(value) : none;
}

// none: a durable topic had records under another epoch by then. Who is slow may hear late of one
// that an earlier server gave it before it had any.
std::uint32_t Oracle::epoch_number(std::uint32_t topic, std::string_view name, std::uint32_t life) {
    std::vector<Epoch>& epochs = topics_[topic].epochs;
    std::uint32_t number = 0;
    while (number < epochs.size() && epochs[number].name != name) {
        number++;
    }
    if (number < epochs.size()) return number;
    for (const Epoch& former : epochs) {
        if (topic < durable_ && former.life <= life && !former.order.empty()) return none;
    }
    epochs.push_back({.name = std::string(name), .life = life, .order = {}});
    return number;
}

std::string Oracle::subscribed(Reading& reading,
                               std::string_view payload,
                               bool resumes,
                               std::uint64_t kept,
                               Nanos now) {
    const std::uint64_t offset = number(member(payload, "offset"));
    const std::string_view name = member(payload, "epoch");
    if (name.size() != 16) return "not an epoch";
    const std::uint32_t epoch = epoch_number(reading.topic, name, reading.life);
    if (epoch == none) return "a durable topic has another epoch";
    const bool same = resumes && epoch == reading.epoch;
    if (member(payload, "recovered") == "true") {
        if (!same) return "recovered what nobody asked for";
        if (offset + 1 != reading.next) return "recovered from another offset";
        reading.state = Reading::State::on;  // and the rest goes on as it was
        recovered++;
        return {};
    }
    if (keyed_) {
        const bool snapshot = member(payload, "snapshot") == "true" && offset == 0;
        if (member(payload, "keyed") != "true" || !snapshot) return "no snapshot of a keyed topic";
        reading.begin(1, now);
        reading.epoch = epoch;
        return {};
    }
    const std::uint64_t missed_from = same ? reading.next : 1;
    if (same && offset + 1 == reading.next) return "not recovered, although nothing was missed";
    if (same && offset + 1 < reading.next) return "offsets go backwards in one epoch";
    if (same && offset + 1 - reading.next <= kept) return "not recovered, although all is kept";
    reading.begin(offset + 1, now);
    reading.epoch = epoch;
    if (resumes) reading.owed = {.from = missed_from, .to = offset};
    return {};
}

std::string Oracle::brought(Reading& reading, std::string_view payload, Nanos since, Nanos now) {
    if (member(payload, "recovered") != "false") return "recovered by a pattern";
    std::string problem = subscribed(reading, payload, false, 0, now);
    if (!problem.empty() || topics_[reading.topic].touched <= since) return problem;
    if (reading.next != 1) return "a new topic not from its first record on";
    reading.clear_since = since;
    brought_anew++;
    return {};
}

std::string Oracle::named(Reading& reading, std::string_view payload, Nanos now) {
    if (keyed_) return subscribed(reading, payload, false, 0, now);
    if (number(member(payload, "offset")) + 1 != reading.next) return "not the same subscription";
    return member(payload, "recovered") == "false" ? "" : "recovered by name";
}

void Oracle::touch(std::uint32_t topic, Nanos now) {
    topics_[topic].touched = std::min(topics_[topic].touched, now);
}

std::string Oracle::acknowledged(std::uint32_t publication,
                                 const Envelope& ack,
                                 std::uint32_t life) {
    Publication& what = publications_[publication];
    if (ack.topic != topics_[what.topic].name) return "another topic's ack";
    const std::string_view name = member(ack.payload, "epoch");
    if (name.size() != 16) return "not an epoch";
    what.refused = false;
    const std::uint32_t epoch = epoch_number(what.topic, name, life);
    if (epoch == none) return "a durable topic has another epoch";
    return place(publication, epoch, number(member(ack.payload, "offset")));
}

void Oracle::forgive_all() {
    for (Publication& each : publications_) {
        if (each.offset == 0) each.refused = true;
    }
}

void Oracle::forgive(std::uint32_t client) {
    for (Publication& each : publications_) {
        if (each.client == client && each.offset == 0) each.refused = true;
    }
}

std::string Oracle::place(std::uint32_t publication, std::uint32_t epoch, std::uint64_t offset) {
    Publication& what = publications_[publication];
    if (what.offset == offset && what.epoch == epoch) return {};
    const bool elsewhere = what.offset != 0 && what.epoch != epoch;
    if (what.offset != 0 && !(elsewhere && what.repeated)) return "one record under two offsets";
    std::vector<std::uint32_t>& order = topics_[what.topic].epochs[epoch].order;
    if (offset == 0) return "a record without an offset";
    if (offset >= order.size()) order.resize(offset + 1, none);
    // Said again, it was placed in a later epoch, too; who is late still reads of the former one.
    if (order[offset] == publication) return {};
    if (order[offset] != none) return "two records under one offset";
    order[offset] = publication;
    what.offset = offset;
    what.epoch = epoch;
    // One publisher's records keep their order; look at the neighbour that was placed. What was
    // said again on another connection may have overtaken what the first one said behind it.
    if (what.repeated) return {};
    for (std::uint32_t i = what.before; i != none; i = publications_[i].before) {
        const Publication& former = publications_[i];
        if (former.offset == 0 || former.epoch != epoch || former.repeated) continue;
        if (former.offset > offset) return "a publisher's records changed their order";
        break;
    }
    return {};
}

std::string Oracle::follow(Reading& reading, std::uint32_t publication) {
    Publication& what = publications_[publication];
    if (reading.last != none) {
        Publication& former = publications_[reading.last];
        // Whoever is of another server may have another epoch. /raw does not say.
        if (former.after == none || former.life != reading.life) former.after = publication;
        former.life = reading.life;
        if (former.after != publication) return "two readers saw different orders";
    }
    if (what.repeated) {
        reading.last = publication;
        reading.received++;
        checked++;
        return {};
    }
    const std::uint32_t seen = reading.last_from(what.client);
    if (seen != none && seen >= publication) return "a record came twice, or after a later one";
    for (std::uint32_t i = what.before; i != none && i != seen; i = publications_[i].before) {
        const Publication& missed = publications_[i];
        if (missed.refused || missed.repeated || missed.gone) continue;
        if (missed.sent_at > reading.clear_since) {
            return "record N" + std::to_string(i) + " never came, N" + std::to_string(publication) +
                   " of the same publisher did";
        }
        break;
    }
    reading.remember(what.client, publication);
    reading.last = publication;
    reading.received++;
    checked++;
    return {};
}

std::string Oracle::look_at(std::uint32_t topic,
                            const Envelope& update,
                            std::uint32_t& publication) const {
    const bool encoded = !update.encoding.empty();
    if (keyed_) {
        const std::uint64_t value = number(update.id);
        publication = value < count() ? static_cast<std::uint32_t>(value) : none;
    } else if (encoded && update.payload.size() > 2) {
        publication = identify(head_of_base64(update.payload.substr(1, update.payload.size() - 2)));
    } else {
        publication = identify(update.payload);
    }
    if (publication == none) return "a payload that nobody published";
    const Publication& what = publications_[publication];
    if (what.topic != topic) return "a record of another topic";
    if (keyed_ && update.key != key_name(what.key)) return "a record of another key";
    if (encoded != (what.form == Form::binary)) return "the wrong encoding";
    const bool same = what.gone ? update.payload == "null"
                      : encoded ? is_quoted(update.payload, base64(what.body))
                                : is_quoted(update.payload, what.body);
    if (!same) return "a corrupt payload";
    if (number(update.id) != (what.with_id ? publication : update.offset)) return "the wrong id";
    return {};
}

std::string Oracle::keyed_record(Reading& reading, const Envelope& update) {
    if (update.offset < reading.next) return "an offset that came already";
    reading.next = update.offset + 1;
    std::uint32_t publication = none;
    const std::string problem = look_at(reading.topic, update, publication);
    if (!problem.empty()) return problem;
    const Publication& what = publications_[publication];
    reading.latest.resize(key_count);
    reading.latest[what.key] = update.offset;
    reading.received++;
    checked++;
    return place(publication, reading.epoch, update.offset);
}

bool Oracle::behind(const Reading& reading) const {
    const std::vector<Epoch>& epochs = topics_[reading.topic].epochs;
    if (!keyed_ || reading.state != Reading::State::on || reading.epoch >= epochs.size()) {
        return false;
    }
    const std::vector<std::uint32_t>& order = epochs[reading.epoch].order;
    std::vector<std::uint64_t> newest(key_count);
    for (std::uint64_t offset = 0; offset < order.size(); offset++) {
        if (order[offset] != none) newest[publications_[order[offset]].key] = offset;
    }
    for (std::uint32_t key = 0; key < key_count; key++) {
        const std::uint64_t had = key < reading.latest.size() ? reading.latest[key] : 0;
        if (newest[key] == had) continue;
        // Of a key that was gone before it came it need not hear.
        const bool gone = had == 0 && publications_[order[newest[key]]].gone;
        if (!gone) return true;
    }
    return false;
}

std::string Oracle::record(Reading& reading, const Envelope& update) {
    if (reading.state != Reading::State::on) return "a record without a subscription";
    if (keyed_) return keyed_record(reading, update);
    if (reading.owed.from != 0) return "a record before the gap that is owed";
    if (update.offset != reading.next) {
        return "offset " + std::to_string(update.offset) + " instead of " +
               std::to_string(reading.next);
    }
    reading.next++;
    std::uint32_t publication = none;
    std::string problem = look_at(reading.topic, update, publication);
    if (!problem.empty()) return problem;
    problem = place(publication, reading.epoch, update.offset);
    return problem.empty() ? follow(reading, publication) : problem;
}

std::string Oracle::as_published(std::uint32_t topic, const Envelope& update) {
    std::uint32_t publication = none;
    return look_at(topic, update, publication);
}

std::string Oracle::raw_record(Reading& reading, Op op, std::string_view payload) {
    const std::uint32_t publication = identify(payload);
    const Publication& what = publications_[publication];
    if ((op == Op::binary) != (what.form == Form::binary)) return "the wrong opcode";
    const bool same =
        what.form == Form::json ? is_quoted(payload, what.body) : payload == what.body;
    if (!same) return "a corrupt payload";
    return follow(reading, publication);
}

std::string Oracle::gap(Reading& reading, std::string_view payload, Nanos now) {
    if (reading.state != Reading::State::on) return "a gap without a subscription";
    const std::uint64_t from = number(member(payload, "from"));
    const std::uint64_t to = number(member(payload, "to"));
    const std::uint64_t next = number(member(payload, "next"));
    if (reading.owed.from != 0) {
        const bool exact = from == reading.owed.from && to == reading.owed.to && next == to + 1;
        reading.owed = {};
        gaps++;
        return exact ? "" : "another gap than the one that is owed";
    }
    if (from != reading.next) {
        return "a gap from " + std::to_string(from) + " instead of " + std::to_string(reading.next);
    }
    if (to < from || next != to + 1) return "a gap that does not add up";
    reading.begin(next, now);
    gaps++;
    return {};
}

}  // namespace ringcast::sim
