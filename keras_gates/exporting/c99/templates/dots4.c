/* Sums of rows of weights of 4 bits, four rows in two rows of bytes: a byte is a weight of the first row plus 16 times one of the
   second. So the sum over whole bytes gives the second row without taking it out: (bytes - first) / 16. Rows of zeros fill up
   the last four. */
static inline int32_t low4(int8_t byte)
{
    return (int8_t)((uint8_t)byte << 4) >> 4;
}

static void dots4(const int8_t *w, const int16_t *x, int32_t n, int32_t rows, int32_t *sum)
{
    for (; rows > 0; rows -= 4, w += 2 * n, sum += 4) {
        const int8_t *w1 = w + n;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (int32_t i = 0; i < n; ++i) {
            a += low4(w[i]) * x[i];
            b += w[i] * x[i];
            c += low4(w1[i]) * x[i];
            d += w1[i] * x[i];
        }
        sum[0] = a, sum[1] = (b - a) / 16, sum[2] = c, sum[3] = (d - c) / 16;
    }
}
