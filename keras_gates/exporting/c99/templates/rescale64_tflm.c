static inline int32_t rescale64(int64_t x, const int32_t *s) { return scale64(x, s[0], s[1]); }
