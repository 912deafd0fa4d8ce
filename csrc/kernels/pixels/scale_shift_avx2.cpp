#include "kernels/pixels/scale_shift_rows.inl"
