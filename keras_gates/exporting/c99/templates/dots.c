/* Sums of rows of weights: four rows at a time, so that each item of x is loaded once for them. A processor's own way:
   -include its header and -DGATES_DOTS=function. */
#ifdef GATES_DOTS
#define dots GATES_DOTS
#else
static void dots(const int8_t *w, const int16_t *x, int32_t n, int32_t rows, const int32_t *bias, int32_t *sum)
{
    for (; rows >= 4; rows -= 4, w += 4 * n, bias += 4, sum += 4) {
        const int8_t *w1 = w + n, *w2 = w1 + n, *w3 = w2 + n;
        int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
        for (int32_t i = 0; i < n; ++i) {
            a += (int32_t)w[i] * x[i];
            b += (int32_t)w1[i] * x[i];
            c += (int32_t)w2[i] * x[i];
            d += (int32_t)w3[i] * x[i];
        }
        sum[0] = a, sum[1] = b, sum[2] = c, sum[3] = d;
    }
    for (; rows > 0; --rows, w += n) {
        int32_t a = *bias++;
        for (int32_t i = 0; i < n; ++i)
            a += (int32_t)w[i] * x[i];
        *sum++ = a;
    }
}
#endif
