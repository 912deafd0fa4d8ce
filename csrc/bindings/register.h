// One function per family; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace fastwsi {

void register_augment(pybind11::module_& m);
void register_build(pybind11::module_& m);
void register_heatmap(pybind11::module_& m);
void register_hsd(pybind11::module_& m);
void register_orient(pybind11::module_& m);
void register_pixels(pybind11::module_& m);
void register_pooling(pybind11::module_& m);
void register_runtime(pybind11::module_& m);
void register_stitch(pybind11::module_& m);
void register_streaming(pybind11::module_& m);
void register_warp(pybind11::module_& m);

}  // namespace fastwsi
