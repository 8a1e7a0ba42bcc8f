static void $name(const $type *a, const $type *b, $result *y, const pair_t *p)
{
    for (int32_t i = 0; i < p->n[0]; ++i)
        for (int32_t j = 0; j < p->n[1]; ++j)
            for (int32_t k = 0; k < p->n[2]; ++k) {
                const $type l = a[i * p->a[0] + j * p->a[1] + k * p->a[2]];
                const $type r = b[i * p->b[0] + j * p->b[1] + k * p->b[2]];
                *y++ = $expression;
            }
}
