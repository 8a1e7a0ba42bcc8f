typedef struct {
    const float *weights; /* a column for each unit */
    const float *bias;
    int32_t inputs, units;
    float low, high;
} dense_float_t;

static void dense_float(const dense_float_t *m, const float *x, int32_t rows, float *y)
{
    for (int32_t r = 0, some; r < rows; r += some, x += some * m->inputs, y += some * m->units) {
        some = r + 2 <= rows ? 2 : 1;
        for (int32_t i = 0; i < some; ++i)
            memcpy(y + i * m->units, m->bias, (size_t)m->units * sizeof *y);
        if (some == 2)
            products_two(m->weights, x, m->inputs, m->inputs, m->units, y);
        else
            products(m->weights, x, m->inputs, m->units, y);
        for (int32_t i = 0; i < some * m->units; ++i)
            y[i] = clamp_float(y[i], m->low, m->high);
    }
}
