#include "kernels/augment/orient_rows.inl"
