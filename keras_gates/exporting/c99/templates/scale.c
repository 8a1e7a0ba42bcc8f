/* x * 2^n in 32 bits; what does not fit wraps, as in the reference. */
static inline int32_t left(int32_t x, int32_t n) { return (int32_t)((uint32_t)x << n); }

/* x * m / 2^31 * 2^shift, rounded twice. */
static inline int32_t scale(int32_t x, int32_t m, int32_t shift)
{
    return shift > 0 ? times31(left(x, shift), m) : divide(times31(x, m), -shift);
}
