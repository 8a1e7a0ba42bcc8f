/* All steps of a sequence; y: the hidden state after each. */
static void lstm_int8(const lstm_int8_t *m, const int8_t *x, int32_t steps, int8_t *h, int16_t *c, int16_t *gates, int8_t *y)
{
    for (int32_t t = 0; t < steps; ++t) {
        lstm_step_int8(m, x + t * m->inputs, h, c, gates);
        memcpy(y + t * m->units, h, (size_t)m->units);
    }
}
