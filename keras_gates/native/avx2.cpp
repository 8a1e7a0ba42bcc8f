// x86-64 with AVX2 and FMA.
#include "internal.h"

#if defined(__x86_64__)
// After every #include: only this file's own functions get these instructions.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define KG_NAMESPACE kg_with_avx2
#define KG_NAME "avx2"
#undef KG_BYTES
#undef KG_ROWS
#define KG_BYTES 32
#define KG_ROWS 6
#define KG_ENTRY kg_avx2
#include "variant.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
const kg_instruction_set* kg_avx2() { return nullptr; }
#endif
