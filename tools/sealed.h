#pragma once

// Opening what a server sealed (docs/PROTOCOL.md, "Sealed topics"), for `ringcast sub`: as /raw
// hands it out, with everything in it but the key. It judges the server, so it shares no code with
// src/wire. Pure but for read_key_file().

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringcast::tools {

struct ReaderKey {
    std::string id;
    std::array<unsigned char, 32> secret{};
};

// Lines "NAME ID KEY", as the server's own file. Returns what is wrong with the first that is not,
// or with the whole; empty: nothing.
[[nodiscard]] std::string parse_reader_keys(std::string_view text, std::vector<ReaderKey>& keys);
// The same, of a file that nobody else may read.
[[nodiscard]] std::string read_key_file(const std::string& name, std::vector<ReaderKey>& keys);

// A message of /raw on a sealed topic. Members come in this order and no other.
struct SealedText {
    std::string kid;
    std::string topic;
    std::uint64_t epoch = 0;
    std::uint64_t offset = 0;
    std::string key;
    std::string data;  // bytes
};
[[nodiscard]] bool parse_sealed(std::string_view text, SealedText& sealed);

// What was published into `payload`; or why not, for people.
[[nodiscard]] std::string open_sealed(const SealedText& sealed,
                                      const std::vector<ReaderKey>& keys,
                                      std::string& payload);

}  // namespace ringcast::tools
