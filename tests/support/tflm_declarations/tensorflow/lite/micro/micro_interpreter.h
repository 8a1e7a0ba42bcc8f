// Declarations of what the tflite-micro wheel exports, for the test that runs the kit's self-test in it.
// The layouts are those of TF_LITE_STATIC_MEMORY builds; objects get more room than they need.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
union TfLitePtrUnion {
    void* data;
    char* raw;
};
struct TfLiteTensor {
    struct {
        int type;
        void* params;
    } quantization;
    struct {
        float scale;
        int32_t zero_point;
    } params;
    TfLitePtrUnion data;
    void* dims;
    size_t bytes;
    int type;
};
struct TfLiteEvalTensor {
    TfLitePtrUnion data;
};

namespace tflite {
namespace micro {
class MicroResourceVariables;
class MicroProfilerInterface;

class MicroInterpreter {
   public:
    MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t* arena, size_t arena_bytes,
                     MicroResourceVariables* = nullptr, MicroProfilerInterface* = nullptr, bool preserve = false);
    ~MicroInterpreter();
    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();
    TfLiteStatus Reset();
    TfLiteTensor* input(size_t);
    TfLiteTensor* output(size_t);
    TfLiteEvalTensor* GetTensor(int tensor, int subgraph = 0);

   private:
    alignas(16) char room_[4096];
};
}  // namespace micro
}  // namespace tflite
