#include "kernels/streaming/affine_act_rows.inl"
