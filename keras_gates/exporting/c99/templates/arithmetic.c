/* Fixed-point arithmetic. Needs two's complement and an arithmetic >> of negative numbers, which every compiler has. */

static inline int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : least(x, high); }

/* x / 2^n to the nearest, halves away from zero; 0 <= n <= 31. */
static inline int32_t divide(int32_t x, int32_t n)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << n) - 1u);
    return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0));
}

/* a * b / 2^31 to the nearest, halves up. */
static inline int32_t times31(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}
