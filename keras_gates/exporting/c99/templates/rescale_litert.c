/* x * m / 2^n to the nearest, halves away from zero: LiteRT's reference dense layer does this step in double. */
static inline int32_t rescale(int32_t x, int32_t m, int32_t n)
{
    const int64_t p = (int64_t)x * m, half = (int64_t)1 << (n - 1);
    return (int32_t)(p < 0 ? -((half - p) >> n) : (p + half) >> n);
}
