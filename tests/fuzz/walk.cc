// What the targets that walk the unit tests' models have beside them: doctest without its runner. A
// REQUIRE that does not hold ends the run.

#include <cstdio>
#include <cstdlib>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

namespace {

void on_assert(const doctest::AssertData& assertion) {
    if (!assertion.m_failed) return;
    std::fprintf(stderr,
                 "broken: %s (%s:%d): %s\n",
                 assertion.m_expr,
                 assertion.m_file,
                 assertion.m_line,
                 assertion.m_decomp.c_str());
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
    static doctest::Context context;
    context.setAssertHandler(&on_assert);
    context.setAsDefaultForAssertsOutOfTestCases();
    return 0;
}
