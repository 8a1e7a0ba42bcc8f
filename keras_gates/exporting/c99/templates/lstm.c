typedef struct {
    const int8_t *input[4], *recurrent[4];            /* weights, a row for each unit */
    const $bias *input_bias[4], *recurrent_bias[4]; /* less zero point times sum of the row */
    int32_t scales[8][2];                             /* multiplier and shift: input by gate, recurrent by gate */
    int32_t hidden[3];                                /* multiplier, shift, zero point */
    int32_t inputs, units, fraction;                  /* cell state in Q(15 - fraction).fraction */
    int32_t clip;                                     /* of the cell state; 0: none */
} lstm_${suffix}_t;

/* Adds to the inputs of all gates what x contributes. */
static void gate_sums_$suffix(const int8_t *const w[4], const $bias *const bias[4], const int32_t (*scales)[2],
                           const int16_t *x, int32_t inputs, int32_t units, int16_t *gates)
{
    for (int32_t g = 0; g < 4; ++g)
        for (int32_t first = 0; first < units; first += ROWS) {
            const int32_t rows = least(units - first, ROWS);
            $sum sum[ROWS];
            ${gate_sums};
            for (int32_t k = 0; k < rows; ++k) {
                int16_t *y = gates + g * units + first + k;
                *y = (int16_t)gate_sum(*y, $scale(sum[k], scales[g][0], scales[g][1]));
            }
        }
}

/* One step; gates: room for 4 * units, and behind it for x or h in 16 bits. */
static void lstm_step_$suffix(const lstm_${suffix}_t *m, const $type *x, $type *h, int16_t *c, int16_t *gates)
{
    const int32_t n = m->units, bits = 15 - m->fraction;
    memset(gates, 0, (size_t)(4 * n) * sizeof *gates);
    gate_sums_$suffix(m->input, m->input_bias, m->scales, $event, m->inputs, n, gates);
    gate_sums_$suffix(m->recurrent, m->recurrent_bias, m->scales + 4, $hidden, n, n, gates);
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
