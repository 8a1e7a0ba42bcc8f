/* products() of two rows of x, `step` items apart: each weight is loaded once for both; every sum is the same. */
static void products_two(const float *restrict w, const float *restrict x, int32_t step, int32_t n, int32_t width,
                         float *restrict y)
{
    const float *x1 = x + step;
    float *restrict y1 = y + width;
    int32_t j = 0;
    for (; j + 4 <= n; j += 4, w += 4 * width) {
        const float *w1 = w + width, *w2 = w1 + width, *w3 = w2 + width;
        for (int32_t k = 0; k < width; ++k) {
            y[k] += x[j] * w[k] + x[j + 1] * w1[k] + x[j + 2] * w2[k] + x[j + 3] * w3[k];
            y1[k] += x1[j] * w[k] + x1[j + 1] * w1[k] + x1[j + 2] * w2[k] + x1[j + 3] * w3[k];
        }
    }
    for (; j < n; ++j, w += width)
        for (int32_t k = 0; k < width; ++k) {
            y[k] += x[j] * w[k];
            y1[k] += x1[j] * w[k];
        }
}
