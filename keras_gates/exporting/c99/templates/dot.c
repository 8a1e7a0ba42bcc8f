static inline int32_t dot(const int8_t *w, const int8_t *x, int32_t n, int32_t sum)
{
    for (int32_t i = 0; i < n; ++i)
        sum += (int32_t)w[i] * x[i];
    return sum;
}
