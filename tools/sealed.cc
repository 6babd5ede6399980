#include "sealed.h"

#include <charconv>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>

namespace ringcast::tools {

namespace {

constexpr std::size_t salt_size = 16;
constexpr std::size_t nonce_size = 12;
constexpr std::size_t tag_size = 16;

unsigned char* chars(std::string& text) noexcept {
    return reinterpret_cast<unsigned char*>(text.data());
}
const unsigned char* chars(std::string_view text) noexcept {
    return reinterpret_cast<const unsigned char*>(text.data());
}

// Reads a text from its front.
class Scanner {
  public:
    explicit Scanner(std::string_view text) noexcept : rest_(text) {}

    [[nodiscard]] bool take(std::string_view word) noexcept {
        if (!rest_.starts_with(word)) return false;
        rest_.remove_prefix(word.size());
        return true;
    }
    template <typename Number>
    [[nodiscard]] bool take_number(Number& number, int base = 10) noexcept {
        const auto [end, error] =
            std::from_chars(rest_.data(), rest_.data() + rest_.size(), number, base);
        if (error != std::errc{}) return false;
        rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
        return true;
    }
    // To the closing quote, the opening one being gone. Names have no control characters, so there
    // are two escapes alone.
    [[nodiscard]] bool take_string(std::string& text) {
        text.clear();
        while (!rest_.empty() && rest_.front() != '"') {
            if (rest_.front() == '\\') rest_.remove_prefix(1);
            if (rest_.empty()) return false;
            text += rest_.front();
            rest_.remove_prefix(1);
        }
        return take("\"");
    }
    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

  private:
    std::string_view rest_;
};

bool decode_base64url(std::string_view text, std::string& bytes) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes.clear();
    unsigned group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const std::size_t digit = digits.find(c);
        if (digit == digits.npos) return false;
        group = (group << 6 | static_cast<unsigned>(digit)) & 0xffff;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(group >> bits & 0xff);
    }
    return bits < 6 && (group & ((1U << bits) - 1)) == 0;
}

std::string be64(std::uint64_t value) {
    std::string bytes;
    for (int shift = 56; shift >= 0; shift -= 8) {
        bytes += static_cast<char>(value >> shift & 0xff);
    }
    return bytes;
}

std::string place_of(const SealedText& sealed) {
    std::string place = "RCS1";
    for (const std::string* text : {&sealed.kid, &sealed.topic, &sealed.key}) {
        place += static_cast<char>(text->size());
        place += *text;
    }
    return place + be64(sealed.epoch) + be64(sealed.offset);
}

std::string hmac(std::string_view key, std::string_view text) {
    std::string hash(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    HMAC(EVP_sha256(),
         key.data(),
         static_cast<int>(key.size()),
         chars(text),
         text.size(),
         chars(hash),
         &size);
    hash.resize(size);
    return hash;
}

// RFC 5869, for the one block that AES-256 needs.
std::string derive(const ReaderKey& key, std::string_view salt) {
    const std::string_view secret(reinterpret_cast<const char*>(key.secret.data()),
                                  key.secret.size());
    return hmac(hmac(salt, secret), "ringcast seal v1 " + key.id + '\x01');
}

bool decrypt(const std::string& key,
             std::string_view nonce,
             const std::string& place,
             std::string_view text,
             std::string tag,
             std::string& plain) {
    using Free = decltype(&EVP_CIPHER_CTX_free);
    const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int size = 0;
    plain.assign(text.size(), '\0');
    EVP_CIPHER_CTX* it = context.get();
    return EVP_DecryptInit_ex(it, EVP_aes_256_gcm(), nullptr, chars(key), chars(nonce)) == 1 &&
           EVP_DecryptUpdate(it, nullptr, &size, chars(place), static_cast<int>(place.size())) ==
               1 &&
           EVP_DecryptUpdate(it, chars(plain), &size, chars(text), static_cast<int>(text.size())) ==
               1 &&
           EVP_CIPHER_CTX_ctrl(it, EVP_CTRL_GCM_SET_TAG, tag_size, tag.data()) == 1 &&
           EVP_DecryptFinal_ex(it, chars(plain) + size, &size) == 1;
}

bool parse_secret(std::string_view digits, ReaderKey& key) noexcept {
    if (digits.size() != 2 * key.secret.size()) return false;
    for (std::size_t i = 0; i < key.secret.size(); i++) {
        const char* at = digits.data() + 2 * i;
        const auto [end, error] = std::from_chars(at, at + 2, key.secret[i], 16);
        if (error != std::errc{} || end != at + 2) return false;
    }
    return true;
}

}  // namespace

std::string parse_reader_keys(std::string_view text, std::vector<ReaderKey>& keys) {
    std::istringstream lines{std::string(text)};
    std::string line;
    for (int number = 1; std::getline(lines, line); number++) {
        std::istringstream words(line);
        std::string name, digits, more;
        ReaderKey key;
        if (!(words >> name) || name.front() == '#') continue;
        const bool three = (words >> key.id) && (words >> digits) && !(words >> more);
        if (!three || !parse_secret(digits, key)) {
            return "line " + std::to_string(number) +
                   ": a line is NAME ID KEY, and a key has 64 hexadecimal digits";
        }
        keys.push_back(key);
    }
    return keys.empty() ? "no key is in it" : "";
}

std::string read_key_file(const std::string& name, std::vector<ReaderKey>& keys) {
    struct stat status {};
    std::ifstream file(name, std::ios::binary);
    if (!file || stat(name.c_str(), &status) != 0) return "cannot be read";
    if ((status.st_mode & S_IRWXO) != 0) return "others may read or write it: chmod 600";
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return parse_reader_keys(text, keys);
}

bool parse_sealed(std::string_view text, SealedText& sealed) {
    Scanner scanner(text);
    std::string data;
    const bool head = scanner.take(R"({"sealed":{"v":1,"alg":"A256GCM","kid":")") &&
                      scanner.take_string(sealed.kid) && scanner.take(R"(,"topic":")") &&
                      scanner.take_string(sealed.topic) && scanner.take(R"(,"epoch":")") &&
                      scanner.take_number(sealed.epoch, 16) && scanner.take(R"(","offset":)") &&
                      scanner.take_number(sealed.offset);
    if (!head) return false;
    sealed.key.clear();
    if (scanner.take(R"(,"key":")") && !scanner.take_string(sealed.key)) return false;
    return scanner.take(R"(,"data":")") && scanner.take_string(data) && scanner.take("}}") &&
           scanner.at_end() && decode_base64url(data, sealed.data);
}

std::string open_sealed(const SealedText& sealed,
                        const std::vector<ReaderKey>& keys,
                        std::string& payload) {
    const ReaderKey* key = nullptr;
    for (const ReaderKey& each : keys) {
        if (each.id == sealed.kid) key = &each;
    }
    if (key == nullptr) return "the key " + sealed.kid + " is not in the key file";
    const std::string_view data = sealed.data;
    if (data.size() < salt_size + nonce_size + 1 + tag_size) return "it is cut short";
    const std::string_view text =
        data.substr(salt_size + nonce_size, data.size() - salt_size - nonce_size - tag_size);
    std::string plain;
    if (!decrypt(derive(*key, data.substr(0, salt_size)),
                 data.substr(salt_size, nonce_size),
                 place_of(sealed),
                 text,
                 std::string(data.substr(data.size() - tag_size)),
                 plain)) {
        return "it is not what was sealed with the key " + sealed.kid + ", or not for this place";
    }
    payload = plain.substr(1);
    return {};
}

}  // namespace ringcast::tools
