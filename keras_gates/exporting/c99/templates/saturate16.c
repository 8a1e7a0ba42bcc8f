static inline int32_t saturate16(int32_t x) { return clamp(x, -32768, 32767); }
