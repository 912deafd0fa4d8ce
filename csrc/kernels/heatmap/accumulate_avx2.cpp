#include "kernels/heatmap/accumulate_rows.inl"
