#include "kernels/hsd/hsd_normalize_rows.inl"
