#include "kernels/pixels/area_resize_rows.inl"
