typedef struct {
    const int8_t *weights;         /* a row for each unit */
    const int64_t *bias;
    const int32_t (*scales)[4];    /* of each row, see rescale64 */
    int32_t inputs, units;
    int32_t low, high;             /* limits of the output */
} dense_int16_t;

static void dense_int16(const dense_int16_t *m, const int16_t *x, int32_t rows, int16_t *y)
{
    for (int32_t r = 0; r < rows; ++r, x += m->inputs)
        for (int32_t i = 0; i < m->units; ++i) {
            int64_t sum;
            dots64(m->weights + i * m->inputs, x, m->inputs, 1, m->bias + i, &sum);
            *y++ = (int16_t)clamp(rescale64(sum, m->scales[i]), m->low, m->high);
        }
}
