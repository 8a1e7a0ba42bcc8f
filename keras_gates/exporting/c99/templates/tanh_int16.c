/* The input is times m / 2^shift what the table takes. */
static void tanh_int16(const int16_t *x, int32_t n, int32_t m, int32_t shift, int16_t *y)
{
    const int32_t half = shift ? (int32_t)1 << (shift - 1) : 0;
    for (int32_t i = 0; i < n; ++i)
        y[i] = (int16_t)tanh24((x[i] * m + half) >> shift);
}
