#include "kernels/hsd/hsd_moments_rows.inl"
