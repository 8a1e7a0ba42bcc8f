// Which shape every array of a call has: for the bindings, which make a call of a list of the arrays that are there.
#pragma once
#include <cstdint>
#include <initializer_list>

#include "lstm.h"

// Write the sizes and return their number.
inline int kg_shape_of(const kg_lstm& call, int array, int64_t* sizes) {
  auto is = [&](int64_t a, int64_t b = -1, int64_t c = -1) {
    sizes[0] = a, sizes[1] = b, sizes[2] = c;
    return b < 0 ? 1 : c < 0 ? 2 : 3;
  };
  int64_t U = call.units;
  if (array == KG_EVENTS) return is(call.batch, call.time, call.features);
  if (array < KG_KERNEL) return is(call.batch, U);
  if (array < KG_KEPT_KERNEL) {
    int64_t columns = (array - KG_KERNEL) % 3 == 0 && !(array >= KG_PEEPHOLE && array < KG_EVENT_GAIN) ? 2 * U : U;
    return array < KG_RECURRENT ? is(call.features, columns) : array < KG_BIAS ? is(U, columns) : is(columns);
  }
  switch (array) {
    case KG_KEPT_KERNEL: return is(U, U);
    case KG_PROJECTION: return is(U, call.projection);
    case KG_LTM_ZONES:
    case KG_STM_ZONES: return call.drawn ? is(call.time, call.batch, U) : is(1);
    case KG_EPSILONS: return is(3);
    default: return is(U);
  }
}

// Put the arrays that are there into a call whose options are set, in order, and take its sizes from them. `present` has a bit for each;
// `data(n)`, `rank(n)` and `size(n, k)` tell about the n-th that is there. Return whether their shapes fit.
template <class Data, class Rank, class Size>
bool kg_take_arrays(kg_lstm* call, int64_t present, int count, const Data& data, const Rank& rank, const Size& size) {
  int at[KG_ARRAYS], n = 0;
  for (int array = 0; array < KG_ARRAYS; array++) at[array] = present >> array & 1 ? n++ : -1;
  if (n != count || at[KG_EVENTS] < 0 || at[KG_STM] < 0 || at[KG_LTM] < 0) return false;
  if (rank(at[KG_EVENTS]) != 3 || rank(at[KG_STM]) != 2) return false;
  call->batch = size(at[KG_EVENTS], 0), call->time = size(at[KG_EVENTS], 1), call->features = size(at[KG_EVENTS], 2);
  call->units = size(at[KG_STM], 1);
  int p = at[KG_PROJECTION];
  call->projection = p >= 0 && rank(p) == 2 ? size(p, 1) : 0;
  auto has = [&](int array) { return at[array] >= 0; };
  // Learn and use gate have weights, and what is normalised has an epsilon.
  bool whole = has(KG_KERNEL) && has(KG_KERNEL + 2) && has(KG_RECURRENT) && has(KG_RECURRENT + 2) && call->units > 0 &&
               has(KG_KERNEL + 1) == has(KG_RECURRENT + 1) && call->projection <= call->units;
  for (int gate = 0; gate < 3; gate++) whole = whole && has(KG_EVENT_GAIN + gate) == has(KG_STM_GAIN + gate);
  for (int array : {(int)KG_EVENT_GAIN, KG_EVENT_GAIN + 1, KG_EVENT_GAIN + 2, (int)KG_MEMORY_GAIN})
    whole = whole && (!has(array) || has(KG_EPSILONS));
  if (!whole || has(KG_MEMORY_GAIN) != has(KG_MEMORY_BIAS)) return false;
  for (int array = 0; array < KG_ARRAYS; array++) {
    call->arrays[array] = nullptr;
    if (at[array] < 0) continue;
    int64_t sizes[3];
    int wanted = kg_shape_of(*call, array, sizes);
    if (rank(at[array]) != wanted) return false;
    for (int k = 0; k < wanted; k++)
      if (size(at[array], k) != sizes[k]) return false;
    static const double nothing = 0;  // an array without numbers may have no address, but is one
    const void* address = data(at[array]);
    call->arrays[array] = address ? address : &nothing;
  }
  return true;
}
