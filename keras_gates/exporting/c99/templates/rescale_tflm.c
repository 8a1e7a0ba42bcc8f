static inline int32_t rescale(int32_t x, int32_t m, int32_t shift) { return scale(x, m, shift); }
