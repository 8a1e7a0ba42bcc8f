/* All steps of a sequence; gates: room for 8 * units; y: the hidden state after each. */
static void lstm_float(const lstm_float_t *m, const float *x, int32_t steps, float *h, float *c, float *gates, float *y)
{
    const int32_t width = 4 * m->units;
    for (int32_t t = 0, some; t < steps; t += some, x += some * m->inputs) {
        some = t + 2 <= steps ? 2 : 1;
        for (int32_t i = 0; i < some; ++i)
            memcpy(gates + i * width, m->weights, (size_t)width * sizeof *gates);
        if (some == 2)
            products_two(m->weights + width, x, m->inputs, m->inputs, width, gates);
        else
            products(m->weights + width, x, m->inputs, width, gates);
        for (int32_t i = 0; i < some; ++i, y += m->units) {
            lstm_memory_float(m, h, c, gates + i * width);
            memcpy(y, h, (size_t)m->units * sizeof *h);
        }
    }
}
