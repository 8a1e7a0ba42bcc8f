// What the parts of the kernel share: a block of rows and the entry points of every instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

#include "lstm.h"

void* kg_allocate(size_t bytes);  // 64-byte aligned; throws std::bad_alloc
void kg_release(void* memory);
int64_t kg_sparing_from();  // bytes

// One instruction set's functions. The dispatcher packs the weights once, then runs blocks of rows on threads.
struct kg_instruction_set {
  const char* name;
  int64_t (*saved_size)(const kg_lstm&);
  void* (*pack_forward)(const kg_lstm&);
  void (*forward_rows)(const kg_lstm&, const void* packed, int64_t first, int64_t rows, void* outputs, void* stm, void* ltm,
                       void* saved);
  void* (*pack_backward)(const kg_lstm&);
  int64_t (*sums_size)(const kg_lstm&);  // elements of the weight gradients of one block
  void (*backward_rows)(const kg_lstm&, const void* packed, int64_t first, int64_t rows, const void* outputs, const void* saved,
                        const void* d_outputs, const void* d_stm, const void* d_ltm, const kg_lstm_gradients&, void* sums);
  void (*add_sums)(const kg_lstm&, void* const* sums, int blocks, const kg_lstm_gradients&);
};

const kg_instruction_set* kg_baseline();  // SSE2 on x86-64, NEON on AArch64
const kg_instruction_set* kg_avx2();
const kg_instruction_set* kg_avx512();
