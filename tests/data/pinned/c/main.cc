// Written by keras_gates: the main loop. Write read_sensor and link model.cc, selftest.cc and TFLM.
#include <algorithm>
#include <cstdio>

#include "model.h"

namespace model {
int selftest();
}

// Waits for the next event and fills the arrays; false where a new sequence begins.
bool read_sensor(float* event_);

int main() {
    static float event_[model::kEventSize];
    static float prediction_[model::kPredictionSize];
    if (model::selftest() != 0) return 1;
    for (;;) {
        if (!read_sensor(event_)) {
            model::reset();
            continue;
        }
        if (!model::run(event_, prediction_)) return 1;
        const auto best = std::max_element(prediction_, prediction_ + model::kPredictionSize) - prediction_;
        std::printf("%s\n", model::kLabels[best]);
    }
}
