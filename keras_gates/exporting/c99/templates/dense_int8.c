typedef struct {
    const int8_t *weights;         /* a row for each unit */
    const int32_t *bias;           /* less zero point times sum of the row */
    const int32_t (*scales)[2];    /* multiplier and shift of each row */
    int32_t inputs, units;
    int32_t zero, low, high;       /* of the output: zero point and limits */
} dense_int8_t;

static void dense_int8(const dense_int8_t *m, const int8_t *x, int32_t rows, int8_t *y)
{
    for (int32_t r = 0; r < rows; ++r, x += m->inputs)
        for (int32_t i = 0; i < m->units; ++i) {
            const int32_t sum = dot(m->weights + i * m->inputs, x, m->inputs, m->bias[i]);
            *y++ = (int8_t)clamp(rescale(sum, m->scales[i][0], m->scales[i][1]) + m->zero, m->low, m->high);
        }
}
