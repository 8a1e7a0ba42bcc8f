/* q: zero points of x and y, multiplier, shift, limits of y. */
static void relu_$suffix(const $type *x, int32_t n, $type *y, const int32_t *q)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = ($type)clamp(scale(x[i] - q[0], q[2], q[3]) + q[1], q[4], q[5]);
}
