#pragma once

// A folder that a test may fill; it goes with all that is in it. In memory where the disk itself is
// not what is tested: thousands of fsyncs take their time.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace ringcast::test {

class TempFolder {
  public:
    enum class On : std::uint8_t { disk, memory };

    explicit TempFolder(On on = On::disk) {
        std::filesystem::path place = std::filesystem::temp_directory_path();
        if (on == On::memory && std::filesystem::is_directory("/dev/shm")) place = "/dev/shm";
        std::string pattern = (place / "ringcast-XXXXXX").string();
        if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

}  // namespace ringcast::test
