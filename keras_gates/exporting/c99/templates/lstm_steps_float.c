/* All steps of a sequence; y: the hidden state after each. */
static void lstm_float(const lstm_float_t *m, const float *x, int32_t steps, float *h, float *c, float *gates, float *y)
{
    for (int32_t t = 0; t < steps; ++t) {
        lstm_step_float(m, x + t * m->inputs, h, c, gates);
        memcpy(y + t * m->units, h, (size_t)m->units * sizeof *h);
    }
}
