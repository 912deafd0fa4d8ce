#include "kernels/heatmap/nms_rows.inl"
