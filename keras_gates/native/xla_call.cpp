// JAX: the kernel as two handlers of XLA's custom calls, registered by jax_binding.py.
#include <cstring>

#include "arrays.h"
#include "xla_c.h"

namespace {

xla::Error* error(xla::CallFrame* frame, int code, const char* message) {
  xla::ErrorArguments arguments = {sizeof arguments, nullptr, message, code};
  return frame->api->create_error(&arguments);
}

// XLA asks once, when a handler is registered, for which version of the interface it was written.
bool answers_metadata(xla::CallFrame* frame) {
  for (xla::Extension* extension = frame->extensions; extension; extension = extension->next)
    if (extension->type == xla::METADATA) {
      xla::Metadata* metadata = reinterpret_cast<xla::MetadataExtension*>(extension)->metadata;
      metadata->version.major = xla::VERSION_MAJOR;
      metadata->version.minor = xla::VERSION_MINOR;
      metadata->traits = 0;
      return true;
    }
  return false;
}

int32_t attribute(const xla::CallFrame* frame, const char* name) {
  const xla::Attributes& all = frame->attributes;
  for (int64_t n = 0; n < all.count; n++)
    if (all.names[n]->length == strlen(name) && !memcmp(all.names[n]->letters, name, strlen(name)))
      return *static_cast<const int32_t*>(static_cast<const xla::Scalar*>(all.of[n])->value);
  return 0;
}

// The binding passes the arrays that are there, which an attribute tells, then the mask, if there is one, then `more`.
bool read(const xla::CallFrame* frame, int more, kg_lstm* call, int* others) {
  const xla::Buffers& in = frame->arguments;
  int masked = attribute(frame, "masked"), count = (int)in.count - more - masked;
  if (count < 1 || count > KG_ARRAYS) return false;
  int type = in.of[0]->type;
  for (int n = 0; n < count; n++)
    if (in.of[n]->type != type) return false;
  *call = {};
  call->is_double = type == xla::F64;
  call->sequences = attribute(frame, "sequences"), call->go_backwards = attribute(frame, "go_backwards");
  call->zeros = attribute(frame, "zeros"), call->drawn = attribute(frame, "drawn");
  call->from_stm = 1;  // Keras on JAX shows the initial STM before the first event that counts
  bool right = kg_take_arrays(
      call, attribute(frame, "present"), count, [&](int n) { return in.of[n]->data; }, [&](int n) { return (int)in.of[n]->rank; },
      [&](int n, int k) { return in.of[n]->dimensions[k]; });
  if (masked) {
    static const uint8_t nothing = 0;  // an empty mask may have no data, but is one
    const xla::Buffer* mask = in.of[count];
    right = right && mask->rank == 2 && mask->dimensions[0] == call->batch && mask->dimensions[1] == call->time;
    call->mask = mask->data ? static_cast<const uint8_t*>(mask->data) : &nothing;
  }
  *others = count + masked;
  return right && (type == xla::F32 || type == xla::F64);
}

bool saved_fits(const kg_lstm& call, const xla::Buffer* saved) { return saved->dimensions[0] == kg_lstm_saved_size(&call); }

const char* const WRONG = "keras_gates: the arrays are not those of the native loop, or were traced on another processor";
const char* const NO_MEMORY = "GateLSTM: out of memory in the native loop";

}  // namespace

extern "C" {

// Results: outputs, last STM, last LTM and, if there is a fourth, what the backward pass needs.
xla::Error* kg_xla_lstm(xla::CallFrame* frame) {
  if (answers_metadata(frame)) return nullptr;
  kg_lstm call;
  int others;
  bool save = frame->results.count == 4;
  xla::Buffer** out = frame->results.of;
  if (!read(frame, 0, &call, &others) || (save && !saved_fits(call, out[3])))
    return error(frame, xla::INVALID_ARGUMENT, WRONG);
  if (kg_lstm_forward(&call, out[0]->data, out[1]->data, out[2]->data, save ? out[3]->data : nullptr))
    return error(frame, xla::RESOURCE_EXHAUSTED, NO_MEMORY);
  return nullptr;
}

// Arguments: also outputs, what was saved, and the gradients of outputs, STM and LTM. Results: a gradient for every array that has one.
xla::Error* kg_xla_lstm_gradient(xla::CallFrame* frame) {
  if (answers_metadata(frame)) return nullptr;
  kg_lstm call;
  int first, n = 0;
  if (!read(frame, 5, &call, &first)) return error(frame, xla::INVALID_ARGUMENT, WRONG);
  xla::Buffer **in = frame->arguments.of + first, **out = frame->results.of;
  kg_lstm_gradients to = {};
  for (int array = 0; array < KG_WITH_GRADIENT; array++)
    if (call.arrays[array] && n < frame->results.count) to.arrays[array] = out[n++]->data;
  if (n != frame->results.count || !saved_fits(call, in[1])) return error(frame, xla::INVALID_ARGUMENT, WRONG);
  if (kg_lstm_backward(&call, in[0]->data, in[1]->data, in[2]->data, in[3]->data, in[4]->data, &to))
    return error(frame, xla::RESOURCE_EXHAUSTED, NO_MEMORY);
  return nullptr;
}
}
