// Written by keras_gates: pinned int8 fused.
// The memory stays between calls of run, which takes one event; reset() starts a new sequence.
#pragma once

#include <cstddef>
#include <cstdint>

namespace model {

constexpr size_t kArenaBytes = 4288;  // the smallest in which TFLM runs it on x86-64, reporting 2880 as used; 32-bit processors need less
constexpr size_t kDataBytes = 4576;
extern const unsigned char kData[kDataBytes];

// event event: (1, time 1, 4) int8, scale 0.02607, zero point 8
constexpr int kEventSize = 4;
constexpr float kEventScale = 0.0260739122f;
constexpr int kEventZeroPoint = 8;

// prediction prediction: (1, 3) int16, scale 1.526e-05, zero point -32768, softmax
constexpr int kPredictionSize = 3;
constexpr float kPredictionScale = 1.52587891e-05f;
constexpr int kPredictionZeroPoint = -32768;

constexpr const char* kLabels[] = {"a", "b", "c"};

bool begin();  // once; false where the arena is too small or TFLM lacks an operator
bool reset();  // forgets STM and LTM
bool run(const float* event_, float* prediction_);

}  // namespace model
