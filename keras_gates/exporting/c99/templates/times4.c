static inline int32_t times4(int32_t x) { return clamp(x, -0x20000000, 0x1FFFFFFF) * 4 + (x > 0x1FFFFFFF ? 3 : 0); }
