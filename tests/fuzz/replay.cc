// Runs a fuzz target over files, without libFuzzer: any compiler can replay the corpus and the
// regressions. Arguments are files or folders; the file being run is named before it runs, so a
// crash comes right behind its input's name. A folder that is empty is wrong: nothing would be
// tested.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" [[gnu::weak]] int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const char* argument) {
    if (fs::is_regular_file(argument)) return {argument};
    std::vector<fs::path> files;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(argument, error)) {
        if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

bool run(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return false;
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    const std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());  // exact: no byte behind it
    LLVMFuzzerTestOneInput(copy.data(), copy.size());
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "replay: wants files or folders\n");
        return 2;
    }
    if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
    std::size_t count = 0;
    for (int i = 1; i < argc; i++) {
        const std::vector<fs::path> files = files_of(argv[i]);
        if (files.empty()) {
            std::fprintf(stderr, "replay: no file in %s\n", argv[i]);
            return 2;
        }
        for (const fs::path& file : files) {
            std::printf("%s\n", file.c_str());
            std::fflush(stdout);
            if (!run(file)) {
                std::fprintf(stderr, "replay: cannot read %s\n", file.c_str());
                return 2;
            }
            count++;
        }
    }
    std::printf("replayed %zu inputs\n", count);
    return 0;
}
