/* x * m / 2^n, halves up; m has 15 bits, as TFLM rescales 64-bit sums. */
static inline int32_t scale64(int64_t x, int32_t m, int32_t n)
{
    return (int32_t)((x * m + ((int64_t)1 << (n - 1))) >> n);
}
