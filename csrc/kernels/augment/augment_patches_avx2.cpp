#include "kernels/augment/augment_patches_rows.inl"
