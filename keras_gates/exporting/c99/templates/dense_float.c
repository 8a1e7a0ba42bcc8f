typedef struct {
    const float *weights; /* a column for each unit */
    const float *bias;
    int32_t inputs, units;
    float low, high;
} dense_float_t;

static void dense_float(const dense_float_t *m, const float *x, int32_t rows, float *y)
{
    for (int32_t r = 0; r < rows; ++r, x += m->inputs, y += m->units) {
        memcpy(y, m->bias, (size_t)m->units * sizeof *y);
        products(m->weights, x, m->inputs, m->units, y);
        for (int32_t i = 0; i < m->units; ++i)
            y[i] = clamp_float(y[i], m->low, m->high);
    }
}
