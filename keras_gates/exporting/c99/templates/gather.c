typedef struct {
    int32_t batches, outer; /* before the axis */
    int32_t limit, row;     /* its length, and bytes behind it */
    int32_t count;          /* indices per batch */
} gather_t;

/* 0; -1 if an index is outside the axis. */
static int gather(const gather_t *m, const void *x, const int32_t *index, void *y)
{
    const char *from = (const char *)x;
    char *to = (char *)y;
    for (int32_t b = 0; b < m->batches; ++b, index += m->count)
        for (int32_t o = 0; o < m->outer; ++o, from += m->limit * m->row)
            for (int32_t i = 0; i < m->count; ++i, to += m->row) {
                if (index[i] < 0 || index[i] >= m->limit)
                    return -1;
                memcpy(to, from + index[i] * m->row, (size_t)m->row);
            }
    return 0;
}
