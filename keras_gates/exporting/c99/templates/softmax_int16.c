/* Between two of 513 entries. */
static inline int32_t entry(const int16_t *table, int32_t x)
{
    const int32_t i = 256 + (x >> 7), base = table[i];
    return base + (((table[i + 1] - base) * (x & 0x7F) + 64) >> 7);
}

/* e: exp(x) of -10...0; r: 1 / (1 + x) of 0...1; both in Q0.15. */
static void softmax_int16(const int16_t *e, const int16_t *r, int32_t m, int32_t shift, const int16_t *x, int32_t rows,
                          int16_t *y, int32_t n)
{
    for (int32_t row = 0; row < rows; ++row, x += n, y += n) {
        int32_t top = -32768, bits = 1; /* the sum has less than 32 bits */
        int64_t sum = 0;
        for (int32_t i = 0; i < n; ++i)
            top = x[i] > top ? x[i] : top;
        for (int32_t i = 0; i < n; ++i) {
            y[i] = (int16_t)entry(e, clamp(scale(x[i] - top, m, shift) + 32767, -32768, 32767));
            sum += y[i]; /* Q16.15 */
        }
        while (!((uint32_t)sum << bits & 0x80000000u))
            ++bits;
        const int32_t one = (int32_t)(((sum << (bits - 1)) + (1 << 13)) >> 14);
        const int32_t over = entry(r, clamp(one - (1 << 15) - (1 << 16), -32768, 32767));
        const int32_t right = 31 - bits;
        for (int32_t i = 0; i < n; ++i)
            y[i] = (int16_t)clamp((int32_t)(((int64_t)y[i] * over + ((int64_t)1 << (right - 1))) >> right), 0, 32767);
    }
}
