static void dequantize_$suffix(const $type *x, int32_t n, float *y, float scale, int32_t zero)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = scale * (float)(x[i] - zero);
}
