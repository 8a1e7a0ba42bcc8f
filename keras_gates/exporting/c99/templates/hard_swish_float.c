static void hard_swish_float(const float *x, int32_t n, float *y)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = x[i] * clamp_float(x[i] + 3.0f, 0.0f, 6.0f) / 6.0f;
}
