#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "base/processors.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"

namespace fastwsi {
namespace {

std::vector<std::string> levels(bool (*holds)(Simd)) {
    std::vector<std::string> names;
    for (Simd level : {Simd::baseline, Simd::avx2})
        if (holds(level)) names.emplace_back(name_of(level));
    return names;
}

void checked_set_num_threads(int n) {
    FASTWSI_CHECK(n >= 0, "num_threads: got ", n, ", expected at least 1");
    set_num_threads(n);
}

}  // namespace

void register_runtime(py::module_& m) {
    m.def("simd_built", [] { return levels(&simd_built); });
    m.def("simd_usable", [] { return levels(&simd_usable); });
    m.def("simd_level", [] { return std::string(name_of(simd_level())); });
    m.def(
        "set_simd_override",
        [](const std::string& name) { return std::string(set_simd_override(name.c_str())); },
        py::arg("name"));
    m.def("set_num_threads", &checked_set_num_threads, py::arg("n"));
    m.def("num_threads", &effective_threads);
    m.def("default_threads", &default_threads);
    m.def("cgroup_quota", &cgroup_quota, py::arg("groups_file"), py::arg("root"));
    m.def("use_exchange_api", &use_exchange_api, py::arg("use"));

    // Settled now, with the GIL held: a fork while another thread is half-way through the initialisation of
    // a static would leave the child waiting for it for ever.
    default_threads();
    simd_usable(Simd::avx2);
    try {
        simd_level();
    } catch (const std::invalid_argument&) {
        // FASTWSI_SIMD is wrong: every kernel call will say so, and doctor must still run.
    }
}

}  // namespace fastwsi
