/* w: blocks of columns of (bias, kernel, recurrent kernel), so that the inner loop runs over units and becomes vectors. */
typedef struct {
    const float *weights;
    int32_t inputs, units;
    float clip; /* of the cell state; 0: none */
} lstm_float_t;

enum { BLOCK = 32 };

/* One step; gates: room for 4 * units rounded up to a block, in the order input, forget, cell, output. */
static void lstm_step_float(const lstm_float_t *m, const float *x, float *h, float *c, float *gates)
{
    const int32_t n = m->units;
    const float *w = m->weights;
    for (int32_t b = 0; b < 4 * n; b += BLOCK) {
        float sum[BLOCK];
        memcpy(sum, w, sizeof sum);
        w += BLOCK;
        for (int32_t j = 0; j < m->inputs; ++j, w += BLOCK)
            for (int32_t k = 0; k < BLOCK; ++k)
                sum[k] += x[j] * w[k];
        for (int32_t j = 0; j < n; ++j, w += BLOCK)
            for (int32_t k = 0; k < BLOCK; ++k)
                sum[k] += h[j] * w[k];
        memcpy(gates + b, sum, sizeof sum);
    }
    for (int32_t k = 0; k < n; ++k) {
        float y = sigmoid(gates[n + k]) * c[k] + sigmoid(gates[k]) * hyperbolic(gates[2 * n + k]);
        if (m->clip > 0)
            y = y > m->clip ? m->clip : y < -m->clip ? -m->clip : y;
        c[k] = y;
        h[k] = sigmoid(gates[3 * n + k]) * hyperbolic(y);
    }
}
