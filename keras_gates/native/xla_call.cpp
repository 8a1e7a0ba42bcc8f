// JAX: the kernel as two handlers of XLA's custom calls, registered by jax_binding.py.
#include <cstring>

#include "lstm.h"
#include "xla_c.h"

namespace {

constexpr int INPUTS = 10;  // events, stm, ltm, kernel, recurrent kernel, bias, kept kernel, kept bias, peephole, mask

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

// The binding passes an array without numbers for one that is absent, and says by an attribute which are.
bool read(const xla::CallFrame* frame, int inputs, int results, kg_lstm* call) {
  const xla::Buffers& in = frame->arguments;
  if (in.count != inputs || frame->results.count != results || in.of[0]->rank != 3 || in.of[4]->rank != 2) return false;
  int type = in.of[0]->type;
  for (int n = 0; n < INPUTS - 1; n++)
    if (in.of[n]->type != type) return false;
  static const uint8_t nothing = 0;  // an empty mask may have no data, but is one
  bool masked = attribute(frame, "masked"), biased = attribute(frame, "biased"), article = attribute(frame, "article");
  bool peephole = attribute(frame, "peephole");
  auto data = [&](int n, bool there) { return there ? in.of[n]->data : nullptr; };
  const int64_t* sizes = in.of[0]->dimensions;
  *call = {sizes[0],
           sizes[1],
           sizes[2],
           in.of[4]->dimensions[0],
           type == xla::F64,
           attribute(frame, "sequences"),
           attribute(frame, "go_backwards"),
           attribute(frame, "zeros"),
           1,  // Keras on JAX shows the initial STM before the first event that counts
           0,
           attribute(frame, "coupled"),
           data(0, true),
           data(1, true),
           data(2, true),
           data(3, true),
           data(4, true),
           data(5, biased),
           data(6, article),
           data(7, article && biased),
           data(8, peephole),
           static_cast<const uint8_t*>(data(9, masked))};
  if (masked && !call->mask) call->mask = &nothing;
  return type == xla::F32 || type == xla::F64;
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
  bool save = frame->results.count == 4;
  xla::Buffer** out = frame->results.of;
  if (!read(frame, INPUTS, save ? 4 : 3, &call) || (save && !saved_fits(call, out[3])))
    return error(frame, xla::INVALID_ARGUMENT, WRONG);
  if (kg_lstm_forward(&call, out[0]->data, out[1]->data, out[2]->data, save ? out[3]->data : nullptr))
    return error(frame, xla::RESOURCE_EXHAUSTED, NO_MEMORY);
  return nullptr;
}

// Arguments: also outputs, what was saved, and the gradients of outputs, STM and LTM. Results: a gradient for every array.
xla::Error* kg_xla_lstm_gradient(xla::CallFrame* frame) {
  if (answers_metadata(frame)) return nullptr;
  kg_lstm call;
  xla::Buffer **in = frame->arguments.of, **out = frame->results.of;
  if (!read(frame, INPUTS + 5, INPUTS - 1, &call) || !saved_fits(call, in[INPUTS + 1])) return error(frame, xla::INVALID_ARGUMENT, WRONG);
  const kg_lstm_gradients to = {out[0]->data, out[1]->data, out[2]->data, out[3]->data,
                                out[4]->data, out[5]->data, out[6]->data, out[7]->data, out[8]->data};
  if (kg_lstm_backward(&call, in[INPUTS]->data, in[INPUTS + 1]->data, in[INPUTS + 2]->data, in[INPUTS + 3]->data,
                       in[INPUTS + 4]->data, &to))
    return error(frame, xla::RESOURCE_EXHAUSTED, NO_MEMORY);
  return nullptr;
}
}
