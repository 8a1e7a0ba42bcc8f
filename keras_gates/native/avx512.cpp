// x86-64 with AVX-512.
#include "internal.h"

#if defined(__x86_64__)
// After every #include: only this file's own functions get these instructions.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
#endif
#define KG_NAMESPACE kg_with_avx512
#define KG_NAME "avx512"
#undef KG_BYTES
#undef KG_ROWS
#define KG_BYTES 64
#define KG_ROWS 12
#define KG_ENTRY kg_avx512
#include "variant.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
const kg_instruction_set* kg_avx512() { return nullptr; }
#endif
