static void exp_float(const float *x, int32_t n, float *y)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = exponential(x[i]);
}
