/* Sizes, and strides of source and target. */
typedef struct {
    int32_t n[4], x[4], y[4];
} copy_t;

/* Copies items between two places of different strides. */
static void copy(const void *x, void *y, int32_t item, const copy_t *m)
{
    for (int32_t i = 0; i < m->n[0]; ++i)
        for (int32_t j = 0; j < m->n[1]; ++j)
            for (int32_t k = 0; k < m->n[2]; ++k) {
                const char *from = (const char *)x + (i * m->x[0] + j * m->x[1] + k * m->x[2]) * item;
                char *to = (char *)y + (i * m->y[0] + j * m->y[1] + k * m->y[2]) * item;
                if (m->x[3] == 1 && m->y[3] == 1) {
                    memcpy(to, from, (size_t)m->n[3] * (size_t)item);
                    continue;
                }
                for (int32_t l = 0; l < m->n[3]; ++l)
                    memcpy(to + l * m->y[3] * item, from + l * m->x[3] * item, (size_t)item);
            }
}
