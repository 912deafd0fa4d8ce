#include "kernels/augment/warp_rows.inl"
