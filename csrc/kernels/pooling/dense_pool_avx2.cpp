#include "kernels/pooling/dense_pool_rows.inl"
