// What every binding does around a kernel: checks on views, and running without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include "base/parallel.h"
#include "base/view.h"

namespace fastwsi {

namespace py = pybind11;

std::string shape_text(const View& view);

// ValueError unless both are on the same device.
void check_same_device(const View& a, const char* a_name, const View& b, const char* b_name);

// ValueError where the arrays share memory without being the very same array.
void check_no_partial_overlap(const View& a, const char* a_name, const View& b, const char* b_name);

// ValueError where the arrays share memory: for work that reads other places than it writes.
void check_no_overlap(const View& a, const char* a_name, const View& b, const char* b_name);

// Threads that this process should use now: 1 in a torch DataLoader worker that was not told
// otherwise, since its siblings fill the other processors. Needs the GIL.
int effective_threads();

// Releases the GIL and applies effective_threads() while it lives.
class Running {
  public:
    Running() : cap_(effective_threads()) {}

  private:
    ThreadCap cap_;
    py::gil_scoped_release released_;
};

}  // namespace fastwsi
