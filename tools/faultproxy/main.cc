// faultproxy: a TCP proxy that does to a connection what bad networks do, on command. For tests.
// Exit codes: 0 told to stop, 1 it cannot open what it needs, 2 the command line is wrong.

#include <cstdio>
#include <cstring>

#include <CLI/CLI.hpp>

#include "fault.h"
#include "proxy.h"
#include "tools/process.h"

namespace {

using namespace ringcast;

CLI::Validator address() {
    return CLI::Validator(
        [](std::string& text) -> std::string {
            if (io::parse_address(text).ok()) return {};
            return "'" + text.substr(0, 80) + "' given, ADDRESS:PORT allowed";
        },
        "");
}

int serve(const faultproxy::Proxy::Options& options) {
    faultproxy::Proxy proxy(options);
    const Result<Done> opened = proxy.open();
    if (!opened.ok()) {
        const Error error = opened.error();
        const char* known = error.code == Errc::os ? strerrordesc_np(error.os) : "not an address";
        std::fprintf(stderr, "faultproxy: cannot open: %s\n", known != nullptr ? known : "?");
        return 1;
    }
    std::printf("faultproxy: listening on %s, control on %s, seed %llu\n",
                proxy.address().c_str(),
                options.control.empty() ? "nothing" : proxy.control_address().c_str(),
                static_cast<unsigned long long>(options.seed));
    std::fflush(stdout);
    while (!tools::interrupted()) {
        proxy.turn(nanos_per_s / 2);
    }
    return 0;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what is not a ParseError is a bug, and ends it all.
int main(int argc, char** argv) {
    faultproxy::Proxy::Options options;
    std::string listen = "127.0.0.1:0";
    std::string target;
    CLI::App app("faultproxy: a TCP proxy that does what bad networks do, on command");
    app.footer("Commands on the control socket: " + faultproxy::command_help());
    app.add_option("--to", target, "where connections go")->required()->check(address());
    app.add_option("--listen", listen, "where they come")->check(address())->capture_default_str();
    app.add_option("--control", options.control, "ADDRESS:PORT or unix:PATH; none without");
    app.add_option("--seed", options.seed, "of all chance")->capture_default_str();
    app.add_option("--links-max", options.links_max, "connections at a time; others wait")
        ->check(CLI::Range(1, 100'000))
        ->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        std::fputs(app.help().c_str(), stdout);
        return 0;
    } catch (const CLI::ParseError& error) {
        std::fprintf(stderr, "faultproxy: %s\n", error.what());
        return 2;
    }
    Result<io::Address> where = io::parse_address(listen);
    Result<io::Address> to = io::parse_address(target);
    options.listen = where.value();  // checked above
    options.target = to.value();
    tools::raise_file_limit(2 * std::uint64_t{options.links_max} + 64);
    tools::catch_interrupts();
    return serve(options);
}
