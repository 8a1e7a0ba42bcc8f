static inline int64_t dot64(const int8_t *w, const int16_t *x, int32_t n, int64_t sum)
{
    for (int32_t i = 0; i < n; ++i)
        sum += (int32_t)w[i] * x[i];
    return sum;
}
