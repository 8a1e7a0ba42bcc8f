/* q: zero points of x and y, multiplier and shift from 0 on, and below 0. */
static void leaky_$suffix(const $type *x, int32_t n, $type *y, const int32_t *q)
{
    for (int32_t i = 0; i < n; ++i) {
        const int32_t real = x[i] - q[0], *factor = real < 0 ? q + 4 : q + 2;
        y[i] = ($type)clamp(scale(real, factor[0], factor[1]) + q[1], $low, $high);
    }
}
