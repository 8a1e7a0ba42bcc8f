/* e[d]: exp(-d * scale) in Q0.31 for d < reach; beyond it the answer is 0. */
static void softmax_int8_$suffix(const int32_t *e, int32_t reach, const int8_t *x, int32_t rows, $type *y, int32_t n)
{
    for (int32_t row = 0; row < rows; ++row, x += n, y += n) {
        int32_t top = -128, sum = 0, bits = 0;
        for (int32_t i = 0; i < n; ++i)
            top = x[i] > top ? x[i] : top;
        for (int32_t i = 0; i < n; ++i)
            sum += top - x[i] < reach ? divide(e[top - x[i]], 12) : 0; /* Q12.19 */
        while (!((uint32_t)sum << bits & 0x80000000u))
            ++bits;
        /* 1 / (1 + a), a = sum / 2^k - 1 in Q0.31. */
        const int32_t half = (int32_t)(((uint32_t)sum << bits) >> 1); /* (1 + a) / 2 */
        int32_t r = 1515870810 + times31(half, -1010580540);
        for (int i = 0; i < 3; ++i)
            r += times4(times31(r, 0x20000000 - times31(half, r)));
        r = r > 0x3FFFFFFF ? INT32_MAX : r * 2;
        for (int32_t i = 0; i < n; ++i) {
            const int32_t d = top - x[i];
            y[i] = ($type)(d < reach ? least(divide(times31(r, e[d]), 12 - bits + 31 - $bits) + $low, $high) : $low);
        }
    }
}
