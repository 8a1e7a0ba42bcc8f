/* q: zero points of input and output, multiplier, shift. */
static void requantize_int8_$suffix(const int8_t *x, int32_t n, $type *y, const int32_t *q)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = ($type)clamp(scale(x[i] - q[0], q[2], q[3]) + q[1], $low, $high);
}
