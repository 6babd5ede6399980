// Properties: a key file is read as what it says, and written out is read as the same, or one line
// says what is wrong and repeats nothing of it; whatever the bytes, they open only if they are what
// was sealed for that place.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/seal_keys.h"

#include "base/bytes.h"
#include "tests/fuzz/split.h"
#include "wire/seal.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

constexpr std::string_view id = "k1";

SealSecret secret() {
    SealSecret made;
    made.bytes.fill(std::byte{7});
    made.bytes[0] = std::byte{1};
    return made;
}

std::string written(const SealKeys& keys) {
    std::string text;
    for (const SealKey& key : keys) {
        text += key.name + ' ' + key.id + ' ';
        for (const std::byte each : key.secret.bytes) {
            text += "0123456789abcdef"[std::to_integer<unsigned>(each) >> 4];
            text += "0123456789abcdef"[std::to_integer<unsigned>(each) & 15];
        }
        text += '\n';
    }
    return text;
}

void read_keys(std::string_view text) {
    SealKeys keys;
    const std::string problem = parse_seal_keys(text, keys);
    if (!problem.empty()) {
        test::demand(keys.empty(), "of a file that is wrong nothing is taken");
        test::demand(problem.starts_with("line ") || problem == "no key is in it",
                     "a problem begins with its place");
        test::demand(problem.size() < 80, "and repeats nothing");
        return;
    }
    test::demand(!keys.empty() && keys.size() <= seal_keys_max, "there are keys");
    for (const SealKey& key : keys) {
        test::demand(seal_name_valid(key.name) && seal_name_valid(key.id), "with good names");
        test::demand(find_seal_key(keys, key.name)->name == key.name, "which are found");
    }
    SealKeys again;
    test::demand(parse_seal_keys(written(keys), again).empty(), "they can be written");
    test::demand(written(again) == written(keys), "and are read as the same");
}

// Nobody makes a tag by chance.
void open_anything(Bytes bytes) {
    SealCipher cipher;
    PayloadForm form = PayloadForm::json;
    std::string payload = "left";
    const SealPlace place{.topic = "t", .epoch = 1, .offset = 1};
    test::demand(!cipher.open(secret(), place, bytes, form, payload), "it was never sealed");
    test::demand(payload.empty(), "and nothing comes of it");
    SealedBox box;
    if (!read_box(bytes, box)) return;
    test::demand(seal_name_valid(box.id), "a box has an id that needs no escapes");
    test::demand(1 + box.id.size() + box.data.size() == bytes.size(), "and nothing is left over");
}

// The input: how many edits (a place of two bytes, and what is changed there), and the payload.
void open_changed(Bytes input) {
    const std::size_t edits =
        input.empty() ? 0 : std::min(std::to_integer<std::size_t>(input[0]) % 8, input.size() / 4);
    const Bytes changes = input.subspan(std::min<std::size_t>(1, input.size())).first(3 * edits);
    const Bytes payload = input.subspan(std::min(1 + 3 * edits, input.size()));

    SealSalt salt{};
    SealCipher cipher;
    SealInput sealing{.place = {.topic = "topic", .epoch = 9, .offset = 7, .key = "key"},
                      .form = PayloadForm::text,
                      .payload = payload};
    const SealSubkey subkey = SealSubkey::derive(secret(), id, salt);
    std::vector<std::byte> box(sealed_size(id.size(), payload.size()));
    cipher.seal(subkey, sealing, box);

    // Edits fall on the box or, behind its end, on the place.
    const std::vector<std::byte> before = box;
    std::string topic(sealing.place.topic);
    SealPlace place = sealing.place;
    for (std::size_t i = 0; i < edits; i++) {
        const std::size_t at = load_be16(changes.data() + 3 * i) % (box.size() + topic.size() + 2);
        const std::byte change = changes[3 * i + 2];
        if (at < box.size()) {
            box[at] ^= change;
        } else if (at < box.size() + topic.size()) {
            char& c = topic[at - box.size()];
            c = static_cast<char>(c ^ std::to_integer<int>(change));
        } else if (at == box.size() + topic.size()) {
            place.epoch ^= std::to_integer<std::uint64_t>(change);
        } else {
            place.offset ^= std::to_integer<std::uint64_t>(change) << 56;
        }
    }
    place.topic = topic;
    const bool same = box == before && topic == sealing.place.topic &&
                      place.epoch == sealing.place.epoch && place.offset == sealing.place.offset;
    PayloadForm form = PayloadForm::json;
    std::string text;
    const bool opened = cipher.open(secret(), place, box, form, text);
    test::demand(opened == same, "it opens if and only if nothing was changed");
    test::demand(!opened || (text == as_text(payload) && form == sealing.form), "as it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes input = std::as_bytes(std::span(data, size));
    if (input.empty()) return 0;
    const Bytes rest = input.subspan(1);
    switch (data[0] % 3) {
        case 0:
            read_keys(as_text(rest));
            break;
        case 1:
            open_anything(rest);
            break;
        default:
            open_changed(rest);
            break;
    }
    return 0;
}
