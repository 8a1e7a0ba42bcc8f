// The native LSTM: what the bindings (TensorFlow's C API, ctypes) call. No framework, no C++ in this interface.
#pragma once
#include <cstdint>

extern "C" {

// One call. Arrays are dense and row-major, float or double as `is_double` says; matrices have the columns
// ignore | forget | candidate | use. A pointer that is null stands for "none" (mask, bias, kept_kernel, kept_bias,
// peephole).
struct kg_lstm {
  int64_t batch, time, features, units;
  int32_t is_double;
  int32_t sequences;     // outputs (batch, time, units) instead of the last one (batch, units)
  int32_t go_backwards;  // events are read from the last to the first; outputs are in the order of reading
  int32_t zeros;         // the output at a masked event is zero instead of the output before it
  int32_t from_stm;      // the output before the first event that counts is the initial STM instead of zero
  int32_t threads;       // at most so many; 0: as many as there are processors for this process
  int32_t coupled;       // the forget factor is 1 - ignore factor; its columns of the weights have the gradient zero
  const void* events;    // (batch, time, features)
  const void* stm;       // (batch, units)
  const void* ltm;       // (batch, units)
  const void* kernel;            // (features, 4 units)
  const void* recurrent_kernel;  // (units, 4 units)
  const void* bias;              // (4 units)
  const void* kept_kernel;       // (units, units): the article formulation
  const void* kept_bias;         // (units)
  const void* peephole;          // (3, units): what ignore and forget see of LTM before the step, use of LTM after it
  const uint8_t* mask;           // (batch, time), zero where an event is skipped
};

struct kg_lstm_gradients {
  void *events, *stm, *ltm, *kernel, *recurrent_kernel, *bias, *kept_kernel, *kept_bias,
      *peephole;  // shapes as in kg_lstm
};

// Number of elements that `saved` must hold for the backward pass. Valid for this process only: the layout depends on the processor.
int64_t kg_lstm_saved_size(const kg_lstm* call);

// Write outputs, the last STM and LTM, and into `saved`, unless null, what the backward pass needs. Return 0, or 1 without memory.
int kg_lstm_forward(const kg_lstm* call, void* outputs, void* stm, void* ltm, void* saved);

// Write every gradient; those of weights that are null in `call` are not touched. `outputs` and `saved` are those of the forward
// pass. Null `d_stm` or `d_ltm` stand for zeros. Return 0, or 1 without memory.
int kg_lstm_backward(const kg_lstm* call, const void* outputs, const void* saved, const void* d_outputs, const void* d_stm,
                     const void* d_ltm, const kg_lstm_gradients* gradients);

// The instructions in use ("avx512", "avx2", "baseline", …). `kg_use_instructions` selects others, for tests; it returns 0, or 1 if
// this processor or build does not have them.
const char* kg_instructions();
int kg_use_instructions(const char* name);

// From so many bytes of gate values over all steps on, only STM and LTM are saved and the backward pass computes the gates again.
// For tests; between a forward pass and its backward pass it must not change.
void kg_spare_memory_from(int64_t bytes);
}
