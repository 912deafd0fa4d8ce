#include "kernels/streaming/act_gate_rows.inl"
