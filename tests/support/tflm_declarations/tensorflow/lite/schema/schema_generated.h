// Just enough of TFLM's own header to compile the kit against the library inside the tflite-micro wheel.
#pragma once
#include <cstdint>
#include <cstring>

namespace tflite {
class Model;

inline const Model* GetModel(const void* data) {
    uint32_t root;
    std::memcpy(&root, data, sizeof(root));
    return reinterpret_cast<const Model*>(static_cast<const char*>(data) + root);
}
}  // namespace tflite
