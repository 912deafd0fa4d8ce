#include <pybind11/pybind11.h>

#include "base/check.h"
#include "bindings/register.h"

PYBIND11_MODULE(_core, m) {
    pybind11::register_exception_translator([](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (const fastwsi::TypeMismatch& e) {
            pybind11::set_error(PyExc_TypeError, e.what());
        }
    });
    fastwsi::register_build(m);
    fastwsi::register_augment(m);
    fastwsi::register_runtime(m);
    fastwsi::register_heatmap(m);
    fastwsi::register_hsd(m);
    fastwsi::register_orient(m);
    fastwsi::register_pixels(m);
    fastwsi::register_pooling(m);
    fastwsi::register_stitch(m);
    fastwsi::register_streaming(m);
    fastwsi::register_warp(m);
}
