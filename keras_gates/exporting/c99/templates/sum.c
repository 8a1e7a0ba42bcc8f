/* Sums over the middle axis. q: zero points of x and y, multiplier, shift. */
static void sum_$suffix(const $type *x, int32_t outer, int32_t middle, int32_t inner, $type *y, const int32_t *q)
{
    for (int32_t i = 0; i < outer; ++i, x += middle * inner)
        for (int32_t k = 0; k < inner; ++k) {
            int32_t sum = 0;
            for (int32_t j = 0; j < middle; ++j)
                sum += x[j * inner + k] - q[0];
            *y++ = ($type)clamp(scale(sum, q[2], q[3]) + q[1], $low, $high);
        }
}
