/* All steps of a sequence; y: the hidden state after each. */
static void lstm_$suffix(const lstm_${suffix}_t *m, const $type *x, int32_t steps, $type *h, int16_t *c, int16_t *gates, $type *y)
{
    for (int32_t t = 0; t < steps; ++t) {
        lstm_step_$suffix(m, x + t * m->inputs, h, c, gates);
        memcpy(y + t * m->units, h, (size_t)m->units * sizeof *h);
    }
}
