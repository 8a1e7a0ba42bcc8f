// The native LSTM: what the bindings (TensorFlow's C API, ctypes) call. No framework, no C++ in this interface.
#pragma once
#include <cstdint>

extern "C" {

// The arrays of a call, dense and row-major. KG_KERNEL to KG_STM_GAIN stand for three arrays each, one after the other: of the learn
// gate, whose columns are ignore | candidate (2 units), of the forget gate and of the use gate (units).
enum kg_array {
  KG_EVENTS,                          // (batch, time, features)
  KG_STM,                             // (batch, units)
  KG_LTM,                             // (batch, units)
  KG_KERNEL,                          // (features, columns); none of the forget gate: its factor is 1 - ignore factor
  KG_RECURRENT = KG_KERNEL + 3,       // (units, columns)
  KG_BIAS = KG_RECURRENT + 3,         // (columns)
  KG_PEEPHOLE = KG_BIAS + 3,          // (units): ignore and forget see LTM before the step, use LTM after it
  KG_EVENT_GAIN = KG_PEEPHOLE + 3,    // (columns): the gate normalises its projections of event and STM, gains for the event's
  KG_STM_GAIN = KG_EVENT_GAIN + 3,    // (columns)
  KG_KEPT_KERNEL = KG_STM_GAIN + 3,   // (units, units): the article formulation
  KG_KEPT_BIAS,                       // (units)
  KG_MEMORY_GAIN,                     // (units): the argument of U's tanh is normalised
  KG_MEMORY_BIAS,                     // (units)
  KG_PROJECTION,                      // (units, projection): STM is projected; the rest of it is zero
  KG_WITH_GRADIENT,                   // so many arrays have gradients
  KG_LTM_ZONES = KG_WITH_GRADIENT,    // (time, batch, units) or (1): the share of the LTM before the step in the LTM after it
  KG_STM_ZONES,                       // likewise of STM
  KG_EPSILONS,                        // (3): what learn, forget and use gate add to a variance
  KG_ARRAYS
};

struct kg_lstm {
  int64_t batch, time, features, units, projection;
  int32_t is_double;     // the type of all arrays
  int32_t sequences;     // outputs (batch, time, units) instead of the last one (batch, units)
  int32_t go_backwards;  // events are read from the last to the first; outputs are in the order of reading, and so are zones
  int32_t zeros;         // the output at a masked event is zero instead of the output before it
  int32_t from_stm;      // the output before the first event that counts is the initial STM instead of zero
  int32_t drawn;         // zones have a number for every step instead of one
  int32_t threads;       // at most so many; 0: as many as there are processors for this process
  const void* arrays[KG_ARRAYS];  // null: none
  const uint8_t* mask;            // (batch, time), zero where an event is skipped; or null
};

struct kg_lstm_gradients {
  void* arrays[KG_WITH_GRADIENT];  // shapes as in kg_lstm
};

// Number of elements that `saved` must hold for the backward pass. Valid for this process only: the layout depends on the processor.
int64_t kg_lstm_saved_size(const kg_lstm* call);

// Write outputs, the last STM and LTM, and into `saved`, unless null, what the backward pass needs. Return 0, or 1 without memory.
int kg_lstm_forward(const kg_lstm* call, void* outputs, void* stm, void* ltm, void* saved);

// Write every gradient; those of arrays that are null in `call` are not touched. `outputs` and `saved` are those of the forward
// pass. Null `d_stm` or `d_ltm` stand for zeros. Return 0, or 1 without memory.
int kg_lstm_backward(const kg_lstm* call, const void* outputs, const void* saved, const void* d_outputs, const void* d_stm,
                     const void* d_ltm, const kg_lstm_gradients* gradients);

// The instructions in use ("avx512", "avx2", "baseline", …). `kg_use_instructions` selects others, for tests; it returns 0, or 1 if
// this processor or build does not have them.
const char* kg_instructions();
int kg_use_instructions(const char* name);

// Run blocks of rows on the threads of an OpenMP library from now on: its `GOMP_parallel`, which calls a function with its
// argument on a number of threads and waits for all; null for threads of our own, which a forked process has in any case.
typedef void (*kg_team)(void (*function)(void*), void* argument, unsigned threads, unsigned flags);
void kg_use_team(kg_team run_team);

// From so many bytes of gate values over all steps on, only STM and LTM are saved and the backward pass computes the gates again.
// For tests; between a forward pass and its backward pass it must not change.
void kg_spare_memory_from(int64_t bytes);
}
