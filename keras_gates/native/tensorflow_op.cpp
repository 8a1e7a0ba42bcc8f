// TensorFlow: the operators `KerasGates>Lstm` and `KerasGates>LstmGradient`, registered when `tf.load_op_library` loads this file.
#include <dlfcn.h>

#include <initializer_list>

#include "lstm.h"
#include "tensorflow_c.h"

namespace tf {
#define KG_DEFINE(name, result, arguments) result(*name) arguments;
KG_TENSORFLOW(KG_DEFINE)

static bool find_tensorflow() {
  void* library = nullptr;
  for (const char* name : {"libtensorflow_framework.so.2", "libtensorflow_framework.2.dylib"})
    if (!library) library = dlopen(name, RTLD_NOLOAD | RTLD_LAZY);
  bool all = library;
#define KG_FETCH(name, result, arguments) \
  all = all && (name = reinterpret_cast<result(*) arguments>(dlsym(library, "TF_" #name)));
  KG_TENSORFLOW(KG_FETCH)
  return all;
}
}  // namespace tf

namespace {

struct Attributes {
  unsigned char sequences, go_backwards, zeros, masked, biased, article, peephole, coupled, save = 0;
  int64_t threads;
};

struct Status {
  tf::Status* of = tf::NewStatus();
  ~Status() { tf::DeleteStatus(of); }
  bool ok() const { return tf::GetCode(of) == tf::OK; }
};

template <bool FORWARD> void* create(tf::Construction* construction) {
  Status status;
  auto* a = new Attributes;
  auto flag = [&](const char* name, unsigned char* to) {
    if (status.ok()) tf::OpKernelConstruction_GetAttrBool(construction, name, to, status.of);
  };
  flag("sequences", &a->sequences);
  flag("go_backwards", &a->go_backwards);
  flag("zeros", &a->zeros);
  flag("masked", &a->masked);
  flag("biased", &a->biased);
  flag("article", &a->article);
  flag("peepholes", &a->peephole);
  flag("coupled", &a->coupled);
  if (FORWARD) flag("save", &a->save);
  if (status.ok()) tf::OpKernelConstruction_GetAttrInt64(construction, "threads", &a->threads, status.of);
  if (!status.ok()) tf::OpKernelConstruction_Failure(construction, status.of);
  return a;
}
void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

constexpr int INPUTS = 10;  // events, stm, ltm, kernel, recurrent kernel, bias, kept kernel, kept bias, peephole, mask
constexpr int MASK = INPUTS - 1;

struct Call {
  tf::Context* context;
  Status status;
  tf::Tensor* inputs[INPUTS + 5] = {};
  kg_lstm lstm = {};
  int type = tf::FLOAT;

  explicit Call(tf::Context* context) : context(context) {}
  ~Call() {
    for (tf::Tensor* t : inputs)
      if (t) tf::DeleteTensor(t);
  }
  bool fail(int code, const char* message) {
    tf::SetStatus(status.of, code, message);
    return false;
  }
  bool shaped(int n, int rank, int64_t a, int64_t b) const {
    return tf::NumDims(inputs[n]) == rank && tf::Dim(inputs[n], 0) == a && (rank < 2 || tf::Dim(inputs[n], 1) == b);
  }
  bool read(const Attributes& a, int count) {
    for (int n = 0; n < count; n++) {
      tf::GetInput(context, n, &inputs[n], status.of);
      if (!status.ok()) return false;
    }
    if (tf::NumDims(inputs[0]) != 3 || tf::NumDims(inputs[4]) != 2)
      return fail(tf::INVALID_ARGUMENT, "KerasGates>Lstm: events must have three dimensions, the recurrent kernel two");
    int64_t batch = tf::Dim(inputs[0], 0), time = tf::Dim(inputs[0], 1), features = tf::Dim(inputs[0], 2);
    int64_t units = tf::Dim(inputs[4], 0);
    bool right = shaped(1, 2, batch, units) && shaped(2, 2, batch, units) && shaped(3, 2, features, 4 * units) &&
                 shaped(4, 2, units, 4 * units) && (!a.masked || shaped(MASK, 2, batch, time)) &&
                 (!a.biased || shaped(5, 1, 4 * units, 0)) && (!a.article || shaped(6, 2, units, units)) &&
                 (!(a.article && a.biased) || shaped(7, 1, units, 0)) && (!a.peephole || shaped(8, 2, 3, units)) && units > 0;
    if (!right) return fail(tf::INVALID_ARGUMENT, "KerasGates>Lstm: the shapes of events, memories, weights and mask do not fit");
    auto data = [&](int n, bool there) { return there ? tf::TensorData(inputs[n]) : nullptr; };
    static const uint8_t nothing = 0;  // an empty mask has no data, but is one
    type = tf::TensorType(inputs[0]);
    lstm = {batch, time, features, units, type == tf::DOUBLE, a.sequences, a.go_backwards, a.zeros, 0, (int32_t)a.threads, a.coupled,
            data(0, true), data(1, true), data(2, true), data(3, true), data(4, true), data(5, a.biased), data(6, a.article),
            data(7, a.article && a.biased), data(8, a.peephole), static_cast<const uint8_t*>(data(MASK, a.masked))};
    if (a.masked && !lstm.mask) lstm.mask = &nothing;
    return true;
  }
  size_t number() const { return type == tf::DOUBLE ? 8 : 4; }
  void* output(int n, const int64_t* sizes, int rank) {
    size_t bytes = number();
    for (int k = 0; k < rank; k++) bytes *= (size_t)sizes[k];
    return output(n, type, sizes, rank, bytes);
  }
  void* output(int n, int type, const int64_t* sizes, int rank, size_t bytes) {
    tf::Tensor* t = status.ok() ? tf::AllocateOutput(context, n, type, sizes, rank, bytes, status.of) : nullptr;
    if (!t) return nullptr;
    void* data = tf::TensorData(t);
    tf::DeleteTensor(t);  // the context holds it
    return data;
  }
  void end(int failed) {
    if (failed) fail(tf::RESOURCE_EXHAUSTED, "KerasGates>Lstm: out of memory");
  }
};

using Forward = decltype(&kg_lstm_forward);
using Backward = decltype(&kg_lstm_backward);
using SavedSize = decltype(&kg_lstm_saved_size);
Forward forward_of_core = nullptr;
Backward backward_of_core = nullptr;
SavedSize saved_size_of_core = nullptr;

void forward(void* attributes, tf::Context* context) {
  auto& a = *static_cast<Attributes*>(attributes);
  Call call(context);
  if (call.read(a, INPUTS)) {
    const kg_lstm& l = call.lstm;
    int64_t all[] = {l.batch, l.time, l.units}, one[] = {l.batch, l.units}, size = a.save ? saved_size_of_core(&l) * (int64_t)call.number() : 0;
    void* outputs = a.sequences ? call.output(0, all, 3) : call.output(0, one, 2);
    void *stm = call.output(1, one, 2), *ltm = call.output(2, one, 2), *saved = call.output(3, tf::UINT8, &size, 1, (size_t)size);
    if (call.status.ok()) call.end(forward_of_core(&l, outputs, stm, ltm, a.save ? saved : nullptr));
  }
  if (!call.status.ok()) tf::OpKernelContext_Failure(context, call.status.of);
}

void backward(void* attributes, tf::Context* context) {
  Call call(context);
  if (call.read(*static_cast<Attributes*>(attributes), INPUTS + 5)) {
    void* gradients[MASK];
    for (int n = 0; n < MASK; n++) {
      int64_t sizes[3];
      int rank = tf::NumDims(call.inputs[n]);
      for (int k = 0; k < rank && k < 3; k++) sizes[k] = tf::Dim(call.inputs[n], k);
      gradients[n] = call.output(n, sizes, rank);
    }
    void* data[5];
    for (int n = 0; n < 5; n++) data[n] = tf::TensorData(call.inputs[INPUTS + n]);
    kg_lstm_gradients to = {gradients[0], gradients[1], gradients[2], gradients[3],
                            gradients[4], gradients[5], gradients[6], gradients[7], gradients[8]};
    if (tf::Dim(call.inputs[INPUTS + 1], 0) != saved_size_of_core(&call.lstm) * (int64_t)call.number())
      call.fail(tf::INVALID_ARGUMENT, "KerasGates>LstmGradient: what the forward pass saved is of another size");
    if (call.status.ok()) call.end(backward_of_core(&call.lstm, data[0], data[1], data[2], data[3], data[4], &to));
  }
  if (!call.status.ok()) tf::OpKernelContext_Failure(context, call.status.of);
}

template <int SAME, int OFFSET> void shapes(tf::Inference* inference, tf::Status* status) {
  tf::ShapeInferenceContextSetUnknownShape(inference, status);
  tf::ShapeHandle* shape = tf::NewShapeHandle();
  for (int n = OFFSET; n < SAME && tf::GetCode(status) == tf::OK; n++) {  // output n has the shape of input n
    tf::ShapeInferenceContextGetInput(inference, n, shape, status);
    if (tf::GetCode(status) == tf::OK) tf::ShapeInferenceContextSetOutput(inference, n, shape, status);
  }
  tf::DeleteShapeHandle(shape);
}

const char* const NAMES[] = {"events: T", "stm: T", "ltm: T", "kernel: T", "recurrent_kernel: T", "bias: T", "kept_kernel: T",
                             "kept_bias: T", "peephole: T"};

tf::OpDefinition* definition(const char* name) {
  tf::OpDefinition* op = tf::NewOpDefinitionBuilder(name);
  for (const char* attribute : {"T: {float, double}", "sequences: bool", "go_backwards: bool", "zeros: bool", "masked: bool",
                                "biased: bool", "article: bool", "peepholes: bool", "coupled: bool", "threads: int"})
    tf::OpDefinitionBuilderAddAttr(op, attribute);
  for (const char* input : NAMES) tf::OpDefinitionBuilderAddInput(op, input);
  tf::OpDefinitionBuilderAddInput(op, "mask: bool");
  return op;
}

void add_kernels(const char* op, void* (*make)(tf::Construction*), void (*compute)(void*, tf::Context*), tf::Status* status) {
  for (int type : {tf::FLOAT, tf::DOUBLE}) {
    tf::KernelBuilder* kernel = tf::NewKernelBuilder(op, "CPU", make, compute, destroy);
    tf::KernelBuilder_TypeConstraint(kernel, "T", type, status);
    tf::RegisterKernelBuilder(op, kernel, status);
  }
}

bool register_operators() {
  if (!tf::find_tensorflow()) return false;
  Status status;
  tf::OpDefinition* op = definition("KerasGates>Lstm");
  tf::OpDefinitionBuilderAddAttr(op, "save: bool");
  for (const char* output : {"outputs: T", "last_stm: T", "last_ltm: T", "saved: uint8"}) tf::OpDefinitionBuilderAddOutput(op, output);
  tf::OpDefinitionBuilderSetShapeInferenceFunction(op, shapes<3, 1>);
  tf::RegisterOpDefinition(op, status.of);
  add_kernels("KerasGates>Lstm", create<true>, forward, status.of);

  op = definition("KerasGates>LstmGradient");
  for (const char* input : {"outputs: T", "saved: uint8", "d_outputs: T", "d_last_stm: T", "d_last_ltm: T"})
    tf::OpDefinitionBuilderAddInput(op, input);
  for (const char* output : {"d_events: T", "d_stm: T", "d_ltm: T", "d_kernel: T", "d_recurrent_kernel: T", "d_bias: T",
                             "d_kept_kernel: T", "d_kept_bias: T", "d_peephole: T"})
    tf::OpDefinitionBuilderAddOutput(op, output);
  tf::OpDefinitionBuilderSetShapeInferenceFunction(op, shapes<MASK, 0>);
  tf::RegisterOpDefinition(op, status.of);
  add_kernels("KerasGates>LstmGradient", create<false>, backward, status.of);
  return status.ok();
}

const bool registered = register_operators();

}  // namespace

extern "C" {
// Before the first call: the core's functions, which live in another library. Return whether the operators are registered.
int kg_tensorflow_use(Forward forward, Backward backward, SavedSize saved_size) {
  forward_of_core = forward;
  backward_of_core = backward;
  saved_size_of_core = saved_size;
  return registered;
}
}
