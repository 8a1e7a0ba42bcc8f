// Written by keras_gates: 12 golden calls, answers by TFLM on x86-64.
// Define MODEL_SELFTEST_MAIN for a program of its own.
#include <cmath>
#include <cstdio>

#include "model.h"

namespace model {
namespace {

const float event__0_0[] = {
    0.345584184f, 0.82161814f, 0.330437064f, -1.30315721f};
const float prediction__0_0[] = {
    0.440307617f, 0.396011353f, 0.16368103f};
const float event__0_1[] = {
    0.905355871f, 0.446374565f, -0.536953211f, 0.581118107f};
const float prediction__0_1[] = {
    0.486419678f, 0.383178711f, 0.130401611f};
const float event__0_2[] = {
    0.364572406f, 0.294132501f, 0.028422242f, 0.546712995f};
const float prediction__0_2[] = {
    0.529220581f, 0.361938477f, 0.108840942f};
const float event__0_3[] = {
    -0.73645407f, -0.162909955f, -0.482119322f, 0.598846197f};
const float prediction__0_3[] = {
    0.521972656f, 0.379760742f, 0.0982666016f};
const float event__0_4[] = {
    0.0397221074f, -0.292456746f, -0.781908453f, -0.257192254f};
const float prediction__0_4[] = {
    0.464233398f, 0.410217285f, 0.125549316f};
const float event__0_5[] = {
    0.00814218074f, -0.275602907f, 1.29406381f, 1.00672436f};
const float prediction__0_5[] = {
    0.530502319f, 0.366027832f, 0.103469849f};
const float event__1_0[] = {
    1.52393746f, -1.52468598f, -2.4662292f, 0.616878748f};
const float prediction__1_0[] = {
    0.461853027f, 0.422790527f, 0.115356445f};
const float event__1_1[] = {
    2.54789782f, -1.00092483f, -1.25069571f, 0.588968933f};
const float prediction__1_1[] = {
    0.507675171f, 0.386047363f, 0.106277466f};
const float event__1_2[] = {
    -0.840721607f, -0.506025493f, -0.348117471f, 0.532002091f};
const float prediction__1_2[] = {
    0.460601807f, 0.436828613f, 0.10256958f};
const float event__1_3[] = {
    -0.405302376f, 0.277882844f, -0.176533252f, -0.84467113f};
const float prediction__1_3[] = {
    0.38470459f, 0.459060669f, 0.156219482f};
const float event__1_4[] = {
    -0.319826245f, -0.950399637f, 0.00651498605f, -1.1238662f};
const float prediction__1_4[] = {
    0.338729858f, 0.473876953f, 0.187393188f};
const float event__1_5[] = {
    -1.09289432f, 1.45696187f, -0.0531842187f, -0.0539020263f};
const float prediction__1_5[] = {
    0.395217896f, 0.435562134f, 0.169235229f};

template <typename T>
int differ(const T* got, const T* wanted, int size, float tolerance) {
    int wrong = 0;
    for (int i = 0; i < size; ++i) wrong += !(std::fabs(static_cast<float>(got[i] - wanted[i])) <= tolerance);
    return wrong;
}

}  // namespace

// Numbers that differ from the golden answers, 0 where all is well; -1 where a call failed.
int selftest() {
    static float prediction_[kPredictionSize];
    int wrong = 0;
    if (!begin()) return -1;
    if (!reset() || !run(event__0_0, prediction_)) return -1;
    wrong += differ(prediction_, prediction__0_0, kPredictionSize, 0.005859375f);
    if (!run(event__0_1, prediction_)) return -1;
    wrong += differ(prediction_, prediction__0_1, kPredictionSize, 0.005859375f);
    if (!run(event__0_2, prediction_)) return -1;
    wrong += differ(prediction_, prediction__0_2, kPredictionSize, 0.005859375f);
    if (!run(event__0_3, prediction_)) return -1;
    wrong += differ(prediction_, prediction__0_3, kPredictionSize, 0.005859375f);
    if (!run(event__0_4, prediction_)) return -1;
    wrong += differ(prediction_, prediction__0_4, kPredictionSize, 0.005859375f);
    if (!run(event__0_5, prediction_)) return -1;
    wrong += differ(prediction_, prediction__0_5, kPredictionSize, 0.005859375f);
    if (!reset() || !run(event__1_0, prediction_)) return -1;
    wrong += differ(prediction_, prediction__1_0, kPredictionSize, 0.005859375f);
    if (!run(event__1_1, prediction_)) return -1;
    wrong += differ(prediction_, prediction__1_1, kPredictionSize, 0.005859375f);
    if (!run(event__1_2, prediction_)) return -1;
    wrong += differ(prediction_, prediction__1_2, kPredictionSize, 0.005859375f);
    if (!run(event__1_3, prediction_)) return -1;
    wrong += differ(prediction_, prediction__1_3, kPredictionSize, 0.005859375f);
    if (!run(event__1_4, prediction_)) return -1;
    wrong += differ(prediction_, prediction__1_4, kPredictionSize, 0.005859375f);
    if (!run(event__1_5, prediction_)) return -1;
    wrong += differ(prediction_, prediction__1_5, kPredictionSize, 0.005859375f);
    return reset() ? wrong : -1;
}

}  // namespace model

#ifdef MODEL_SELFTEST_MAIN
int main() {
    const int wrong = model::selftest();
    std::printf("%s: %d\n", wrong ? "self-test FAILED" : "self-test passed", wrong);
    return wrong != 0;
}
#endif
