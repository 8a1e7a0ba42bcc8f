typedef struct {
    const float *weights; /* rows of 4 * units columns: the bias, the kernel, the recurrent kernel */
    int32_t inputs, units;
    float clip; /* of the cell state; 0: none */
} lstm_float_t;

/* A step behind the products of the input; gates: 4 * units, in the order input, forget, cell, output. */
static void lstm_memory_float(const lstm_float_t *m, float *h, float *c, float *gates)
{
    const int32_t n = m->units, width = 4 * n;
    products(m->weights + (1 + m->inputs) * width, h, n, width, gates);
    for (int32_t k = 0; k < n; ++k) {
        float y = sigmoid(gates[n + k]) * c[k] + sigmoid(gates[k]) * hyperbolic(gates[2 * n + k]);
        if (m->clip > 0)
            y = y > m->clip ? m->clip : y < -m->clip ? -m->clip : y;
        c[k] = y;
        h[k] = sigmoid(gates[3 * n + k]) * hyperbolic(y);
    }
}
