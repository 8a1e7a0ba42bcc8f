/* Sums of rows of weights in 64 bits; 256 products fit in 32. */
static void dots64(const int8_t *w, const int16_t *x, int32_t n, int32_t rows, const int64_t *bias, int64_t *sum)
{
    for (int32_t r = 0; r < rows; ++r, w += n) {
        int64_t all = bias[r];
        for (int32_t first = 0; first < n; first += 256) {
            int32_t part = 0;
            for (int32_t i = first; i < n && i < first + 256; ++i)
                part += (int32_t)w[i] * x[i];
            all += part;
        }
        sum[r] = all;
    }
}
