/* y = a * b. q: zero points of a, b, y; multiplier and shift; limits of y. */
static void multiply_$suffix(const $type *a, const $type *b, $type *y, const pair_t *p, const int32_t *q)
{
    for (int32_t i = 0; i < p->n[0]; ++i)
        for (int32_t j = 0; j < p->n[1]; ++j)
            for (int32_t k = 0; k < p->n[2]; ++k) {
                const int32_t l = a[i * p->a[0] + j * p->a[1] + k * p->a[2]] - q[0];
                const int32_t r = b[i * p->b[0] + j * p->b[1] + k * p->b[2]] - q[1];
                *y++ = ($type)clamp(scale(l * r, q[3], q[4]) + q[2], q[5], q[6]);
            }
}
