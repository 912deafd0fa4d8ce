#include "kernels/augment/orient_mean_rows.inl"
