#pragma once

// Proof from inside: tries what must be impossible once io/sandbox.h has done its work, and what
// must still be possible. What it needs for that (a socket, a ring) it makes before.
//
// One thread.

#include <memory>
#include <string>
#include <vector>

#include "ringcast/error.h"

#include "io/ring.h"
#include "io/socket.h"

namespace ringcast::io {

struct Trial {
    const char* what;
    bool must_work;
    int error;  // errno; 0: it worked

    // EPERM and EACCES are those of the sandbox; a file that is not there would be no proof.
    [[nodiscard]] bool as_it_should() const noexcept;
};

class SandboxTrials {
  public:
    // Before the sandbox. `with_ring`: the reactors have rings, and one like theirs is tried.
    [[nodiscard]] Result<Done> prepare(bool with_ring) noexcept;
    // Inside.
    [[nodiscard]] std::vector<Trial> run() noexcept;

  private:
    void try_processes(std::vector<Trial>& trials) noexcept;
    void try_ring(std::vector<Trial>& trials) noexcept;

    Fd socket_;
    std::unique_ptr<Ring> ring_;
};

// A line each, and one that sums them up.
[[nodiscard]] std::string describe(const std::vector<Trial>& trials) noexcept;
[[nodiscard]] bool all_as_they_should(const std::vector<Trial>& trials) noexcept;

}  // namespace ringcast::io
