typedef struct {
    const int8_t *input[4], *recurrent[4];            /* weights, a row for each unit */
    const $sum *input_bias[4], *recurrent_bias[4]; /* less zero point times sum of the row */
    int32_t scales[8][2];                             /* multiplier and shift: input by gate, recurrent by gate */
    int32_t hidden[3];                                /* multiplier, shift, zero point */
    int32_t inputs, units, fraction;                  /* cell state in Q(15 - fraction).fraction */
    int32_t clip;                                     /* of the cell state; 0: none */
} lstm_${suffix}_t;

/* One step; gates: room for 4 * units. */
static void lstm_step_$suffix(const lstm_${suffix}_t *m, const $type *x, $type *h, int16_t *c, int16_t *gates)
{
    const int32_t n = m->units, bits = 15 - m->fraction;
    for (int32_t g = 0; g < 4; ++g)
        for (int32_t first = 0; first < n; first += ROWS) {
            const int32_t rows = least(n - first, ROWS), *in = m->scales[g], *re = m->scales[4 + g];
            $sum a[ROWS], b[ROWS]; /* first the sums, then the scales: each loop becomes vectors */
            for (int32_t k = 0, i = first; k < rows; ++k, ++i) {
                a[k] = $dot(m->input[g] + i * m->inputs, x, m->inputs, m->input_bias[g][i]);
                b[k] = $dot(m->recurrent[g] + i * n, h, n, m->recurrent_bias[g][i]);
            }
            for (int32_t k = 0; k < rows; ++k) {
                const int32_t event = saturate16($scale(a[k], in[0], in[1]));
                gates[g * n + first + k] = (int16_t)gate_sum(event, $scale(b[k], re[0], re[1]));
            }
        }
    for (int32_t i = 0; i < n; ++i) {
        gates[INPUT * n + i] = (int16_t)sigmoid15(gates[INPUT * n + i]);
        gates[FORGET * n + i] = (int16_t)sigmoid15(gates[FORGET * n + i]);
        gates[OUTPUT * n + i] = (int16_t)sigmoid15(gates[OUTPUT * n + i]);
        gates[CELL * n + i] = (int16_t)tanh15(gates[CELL * n + i], 3);
    }
    for (int32_t i = 0; i < n; ++i) {
        const int32_t y = cell_sum(gates[FORGET * n + i], c[i], gates[INPUT * n + i], gates[CELL * n + i], m->fraction);
        c[i] = (int16_t)(m->clip ? clamp(y, -m->clip, m->clip) : y);
        gates[CELL * n + i] = (int16_t)tanh15(c[i], bits);
    }
    for (int32_t i = 0; i < n; ++i) {
        const int32_t y = scale((int32_t)gates[OUTPUT * n + i] * gates[CELL * n + i], m->hidden[0], m->hidden[1]);
        h[i] = ($type)clamp(y + m->hidden[2], $low, $high);
    }
}
