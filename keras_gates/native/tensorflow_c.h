// The part of TensorFlow's C API that the op needs, as declared in tensorflow/c/{ops,kernels,tf_tensor,tf_status}.h. Fetched from the
// loaded library when the op is registered, so that nothing of TensorFlow is needed to build.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tf {
struct Status;
struct Tensor;
struct OpDefinition;
struct KernelBuilder;
struct Construction;
struct Context;
struct Inference;
struct ShapeHandle;
struct DimensionHandle;
constexpr int OK = 0, INVALID_ARGUMENT = 3, RESOURCE_EXHAUSTED = 8, FLOAT = 1, DOUBLE = 2, UINT8 = 4;

#define KG_TENSORFLOW(X)                                                                                                     \
  X(NewStatus, Status*, ())                                                                                                  \
  X(DeleteStatus, void, (Status*))                                                                                           \
  X(SetStatus, void, (Status*, int, const char*))                                                                            \
  X(GetCode, int, (const Status*))                                                                                           \
  X(NewOpDefinitionBuilder, OpDefinition*, (const char*))                                                                    \
  X(OpDefinitionBuilderAddAttr, void, (OpDefinition*, const char*))                                                          \
  X(OpDefinitionBuilderAddInput, void, (OpDefinition*, const char*))                                                         \
  X(OpDefinitionBuilderAddOutput, void, (OpDefinition*, const char*))                                                        \
  X(OpDefinitionBuilderSetShapeInferenceFunction, void, (OpDefinition*, void (*)(Inference*, Status*)))                      \
  X(RegisterOpDefinition, void, (OpDefinition*, Status*))                                                                    \
  X(NewKernelBuilder, KernelBuilder*,                                                                                        \
    (const char*, const char*, void* (*)(Construction*), void (*)(void*, Context*), void (*)(void*)))                        \
  X(KernelBuilder_TypeConstraint, void, (KernelBuilder*, const char*, int, Status*))                                         \
  X(RegisterKernelBuilder, void, (const char*, KernelBuilder*, Status*))                                                     \
  X(OpKernelConstruction_GetAttrBool, void, (Construction*, const char*, unsigned char*, Status*))                           \
  X(OpKernelConstruction_GetAttrInt64, void, (Construction*, const char*, int64_t*, Status*))                                \
  X(OpKernelConstruction_Failure, void, (Construction*, Status*))                                                            \
  X(OpKernelContext_Failure, void, (Context*, Status*))                                                                      \
  X(GetInput, void, (Context*, int, Tensor**, Status*))                                                                      \
  X(AllocateOutput, Tensor*, (Context*, int, int, const int64_t*, int, size_t, Status*))                                     \
  X(DeleteTensor, void, (Tensor*))                                                                                           \
  X(TensorType, int, (const Tensor*))                                                                                        \
  X(TensorData, void*, (const Tensor*))                                                                                      \
  X(NumDims, int, (const Tensor*))                                                                                           \
  X(Dim, int64_t, (const Tensor*, int))                                                                                      \
  X(NewShapeHandle, ShapeHandle*, ())                                                                                        \
  X(DeleteShapeHandle, void, (ShapeHandle*))                                                                                 \
  X(ShapeInferenceContextGetInput, void, (Inference*, int, ShapeHandle*, Status*))                                           \
  X(ShapeInferenceContextSetOutput, void, (Inference*, int, ShapeHandle*, Status*))                                          \
  X(ShapeInferenceContextSetUnknownShape, void, (Inference*, Status*))

#define KG_DECLARE(name, result, arguments) extern result(*name) arguments;
KG_TENSORFLOW(KG_DECLARE)
}  // namespace tf
