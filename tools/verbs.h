#pragma once

// One function per verb: runs it, prints, and returns the exit code.

#include "options.h"

namespace ringcast::tools {

int bench_fanout(const BenchOptions& options) noexcept;
// A connection's whole life, again and again: connect, upgrade, subscribe, close.
int bench_connect(const BenchOptions& options) noexcept;
// What a subscriber costs that gets nothing.
int bench_idle(const BenchOptions& options) noexcept;
// Round trips.
int bench_echo(const BenchOptions& options) noexcept;
// Clients that lose their connections all the time and come back: complete, or told. Exit code 1 if
// one of them lost something in silence.
int bench_recover(const BenchOptions& options) noexcept;
// Many keys of one topic, updated fast, with readers that are fast and slow ones: whoever has the
// newest record has the latest of every key. Exit code 3 if not.
int bench_keyed(const BenchOptions& options) noexcept;
// A message, a file, or the lines of stdin at the rate that the server allows. Returns when the
// server has confirmed the close, which comes behind everything else: then all is published. If
// not, says why, and how much got through.
int publish(const TalkOptions& options) noexcept;
// Prints what is published, a line each. With a key file exit code 3 if something could not be
// opened.
int subscribe(const TalkOptions& options) noexcept;

}  // namespace ringcast::tools
