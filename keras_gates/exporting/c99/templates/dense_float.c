typedef struct {
    const float *weights; /* a row for each unit */
    const float *bias;
    int32_t inputs, units;
    float low, high;
} dense_float_t;

static void dense_float(const dense_float_t *m, const float *x, int32_t rows, float *y)
{
    for (int32_t r = 0; r < rows; ++r, x += m->inputs)
        for (int32_t i = 0; i < m->units; ++i) {
            float sum = m->bias[i];
            for (int32_t j = 0; j < m->inputs; ++j)
                sum += m->weights[i * m->inputs + j] * x[j];
            *y++ = clamp_float(sum, m->low, m->high);
        }
}
