#include "kernels/streaming/max_pool_rows.inl"
