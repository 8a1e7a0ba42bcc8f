/* y = c ? a : b, all of one shape or single values. */
static void select_$suffix(const int8_t *c, const $type *a, const $type *b, $type *y, int32_t n, const int32_t *step)
{
    for (int32_t i = 0; i < n; ++i)
        y[i] = c[i * step[0]] ? a[i * step[1]] : b[i * step[2]];
}
