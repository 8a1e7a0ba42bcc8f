// Written by keras_gates: pinned int8 fused.
// The memory stays between calls of run, which takes one event; reset() starts a new sequence.
#pragma once

#include <cstddef>
#include <cstdint>

namespace model {

constexpr size_t kArenaBytes = 4288;  // the smallest in which TFLM runs it on x86-64, reporting 2880 as used; 32-bit processors need less
constexpr size_t kDataBytes = 4552;
extern const unsigned char kData[kDataBytes];

// event event: (1, time 1, 4) int8, scale 0.02607, zero point 8
constexpr int kEventSize = 4;
constexpr float kEventScale = 0.0260739122f;
constexpr int kEventZeroPoint = 8;

// prediction prediction: (1, 3) int8, scale 0.003906, zero point -128
constexpr int kPredictionSize = 3;
constexpr float kPredictionScale = 0.00390625f;
constexpr int kPredictionZeroPoint = -128;

constexpr const char* kLabels[] = {"a", "b", "c"};

bool begin();  // once; false where the arena is too small or TFLM lacks an operator
bool reset();  // forgets STM and LTM
bool run(const float* event_, float* prediction_);

}  // namespace model
