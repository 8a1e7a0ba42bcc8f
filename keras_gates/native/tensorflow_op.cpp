// TensorFlow: the operators `KerasGates>Lstm` and `KerasGates>LstmGradient`, registered when `tf.load_op_library` loads this file.
#include <dlfcn.h>

#include <initializer_list>

#include "arrays.h"
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
  unsigned char sequences, go_backwards, zeros, drawn, save = 0;
  int64_t count, present, masked, threads;
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
  auto number = [&](const char* name, int64_t* to) {
    if (status.ok()) tf::OpKernelConstruction_GetAttrInt64(construction, name, to, status.of);
  };
  flag("sequences", &a->sequences);
  flag("go_backwards", &a->go_backwards);
  flag("zeros", &a->zeros);
  flag("drawn", &a->drawn);
  if (FORWARD) flag("save", &a->save);
  number("count", &a->count);
  number("present", &a->present);
  number("masked", &a->masked);
  number("threads", &a->threads);
  if (!status.ok()) tf::OpKernelConstruction_Failure(construction, status.of);
  return a;
}
void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

struct Call {
  tf::Context* context;
  Status status;
  tf::Tensor* inputs[KG_ARRAYS + 6] = {};  // the arrays that are there, the mask if there is one; then what the gradient takes
  int count = 0, others = 0;               // so many arrays; where the others begin
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
  bool read(const Attributes& a, int more) {
    if (a.count > KG_ARRAYS || a.masked > 1) return fail(tf::INVALID_ARGUMENT, "KerasGates>Lstm: too many arrays");
    count = (int)a.count, others = count + (int)a.masked;
    for (int n = 0; n < others + more; n++) {
      tf::GetInput(context, n, &inputs[n], status.of);
      if (!status.ok()) return false;
    }
    type = tf::TensorType(inputs[0]);
    lstm.is_double = type == tf::DOUBLE;
    lstm.sequences = a.sequences, lstm.go_backwards = a.go_backwards, lstm.zeros = a.zeros, lstm.drawn = a.drawn;
    lstm.threads = (int32_t)a.threads;
    bool right = kg_take_arrays(
        &lstm, a.present, count, [&](int n) { return tf::TensorData(inputs[n]); }, [&](int n) { return tf::NumDims(inputs[n]); },
        [&](int n, int k) { return tf::Dim(inputs[n], k); });
    if (a.masked) {
      static const uint8_t nothing = 0;  // an empty mask has no data, but is one
      tf::Tensor* mask = inputs[count];
      right = right && tf::NumDims(mask) == 2 && tf::Dim(mask, 0) == lstm.batch && tf::Dim(mask, 1) == lstm.time;
      lstm.mask = static_cast<const uint8_t*>(tf::TensorData(mask));
      if (!lstm.mask) lstm.mask = &nothing;
    }
    return right || fail(tf::INVALID_ARGUMENT, "KerasGates>Lstm: the shapes of events, memories, weights and mask do not fit");
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
  if (call.read(a, 0)) {
    const kg_lstm& l = call.lstm;
    int64_t all[] = {l.batch, l.time, l.units}, one[] = {l.batch, l.units}, size = a.save ? saved_size_of_core(&l) * (int64_t)call.number() : 0;
    void* outputs = a.sequences ? call.output(0, all, 3) : call.output(0, one, 2);
    void *stm = call.output(1, one, 2), *ltm = call.output(2, one, 2), *saved = call.output(3, tf::UINT8, &size, 1, (size_t)size);
    if (call.status.ok()) call.end(forward_of_core(&l, outputs, stm, ltm, a.save ? saved : nullptr));
  }
  if (!call.status.ok()) tf::OpKernelContext_Failure(context, call.status.of);
}

void backward(void* attributes, tf::Context* context) {
  auto& a = *static_cast<Attributes*>(attributes);
  Call call(context);
  if (call.read(a, 5)) {
    kg_lstm_gradients to = {};
    for (int array = 0, n = 0; array < KG_WITH_GRADIENT; array++) {
      if (!call.lstm.arrays[array]) continue;
      int64_t sizes[3];
      int rank = kg_shape_of(call.lstm, array, sizes);
      to.arrays[array] = call.output(n++, sizes, rank);
    }
    void* data[5];
    for (int n = 0; n < 5; n++) data[n] = tf::TensorData(call.inputs[call.others + n]);
    if (tf::Dim(call.inputs[call.others + 1], 0) != saved_size_of_core(&call.lstm) * (int64_t)call.number())
      call.fail(tf::INVALID_ARGUMENT, "KerasGates>LstmGradient: what the forward pass saved is of another size");
    if (call.status.ok()) call.end(backward_of_core(&call.lstm, data[0], data[1], data[2], data[3], data[4], &to));
  }
  if (!call.status.ok()) tf::OpKernelContext_Failure(context, call.status.of);
}

// The last memories have the shapes of the first; the binding, which knows them in Python, sets the others.
void shapes(tf::Inference* inference, tf::Status* status) {
  tf::ShapeInferenceContextSetUnknownShape(inference, status);
  tf::ShapeHandle* shape = tf::NewShapeHandle();
  for (int n = KG_STM; n <= KG_LTM && tf::GetCode(status) == tf::OK; n++) {
    tf::ShapeInferenceContextGetInput(inference, n, shape, status);
    if (tf::GetCode(status) == tf::OK) tf::ShapeInferenceContextSetOutput(inference, n, shape, status);
  }
  tf::DeleteShapeHandle(shape);
}
void no_shapes(tf::Inference* inference, tf::Status* status) { tf::ShapeInferenceContextSetUnknownShape(inference, status); }

tf::OpDefinition* definition(const char* name) {
  tf::OpDefinition* op = tf::NewOpDefinitionBuilder(name);
  for (const char* attribute : {"T: {float, double}", "count: int >= 1", "masked: int >= 0", "present: int", "sequences: bool",
                                "go_backwards: bool", "zeros: bool", "drawn: bool", "threads: int"})
    tf::OpDefinitionBuilderAddAttr(op, attribute);
  tf::OpDefinitionBuilderAddInput(op, "arrays: count * T");
  tf::OpDefinitionBuilderAddInput(op, "mask: masked * bool");
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
  tf::OpDefinitionBuilderSetShapeInferenceFunction(op, shapes);
  tf::RegisterOpDefinition(op, status.of);
  add_kernels("KerasGates>Lstm", create<true>, forward, status.of);

  op = definition("KerasGates>LstmGradient");
  for (const char* input : {"outputs: T", "saved: uint8", "d_outputs: T", "d_last_stm: T", "d_last_ltm: T"})
    tf::OpDefinitionBuilderAddInput(op, input);
  tf::OpDefinitionBuilderAddAttr(op, "gradient_count: int >= 1");
  tf::OpDefinitionBuilderAddOutput(op, "gradients: gradient_count * T");
  tf::OpDefinitionBuilderSetShapeInferenceFunction(op, no_shapes);
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
