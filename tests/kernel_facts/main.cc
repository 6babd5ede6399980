// Runs the facts and ends with the line that scripts count: "facts: N passed, N skipped".

#define DOCTEST_CONFIG_IMPLEMENT  // NOLINT: doctest names it
#include <cstdio>

#include <doctest/doctest.h>

#include "tests/kernel_facts/facts.h"

namespace ringcast::io::facts {

namespace {

unsigned skipped = 0;
unsigned passed = 0;
const char* current = "";

struct Summary : doctest::IReporter {
    explicit Summary(const doctest::ContextOptions&) {}
    void report_query(const doctest::QueryData&) override {}
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats& stats) override {
        passed = stats.numTestCasesPassingFilters - stats.numTestCasesFailed - skipped;
    }
    void test_case_start(const doctest::TestCaseData& data) override { current = data.m_name; }
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_end(const doctest::CurrentTestCaseStats&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("summary", 1, Summary);

}  // namespace

void count_skipped(const char* why) {
    skipped++;
    std::printf("SKIPPED %s: %s\n", current, why);
}

}  // namespace ringcast::io::facts

int main(int argc, char** argv) {
    doctest::Context context(argc, argv);
    const int result = context.run();
    using namespace ringcast::io::facts;
    std::printf("facts: %u passed, %u skipped\n", passed, skipped);
    return result;
}
