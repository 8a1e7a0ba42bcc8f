/* 8 bits as 16: products of 16 bits become vectors on processors that have them for 16 bits only. */
static const int16_t *widened(const int8_t *x, int32_t n, int32_t zero, int16_t *y)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = (int16_t)(x[i] - zero);
    return y;
}
