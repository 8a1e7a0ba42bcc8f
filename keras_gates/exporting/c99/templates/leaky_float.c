static void leaky_float(const float *x, int32_t n, float alpha, float *y)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = x[i] > 0 ? x[i] : x[i] * alpha;
}
