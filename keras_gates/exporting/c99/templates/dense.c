typedef struct {
    const int8_t *weights;         /* a row for each unit */
    const $bias *bias;           /* less zero point times sum of the row */
    const int32_t (*scales)[2];    /* multiplier and shift of each row */
    int32_t inputs, units;
    int32_t zero, low, high;       /* of the output: zero point and limits */
} dense_${suffix}_t;

/* room: for one row of x in 16 bits. */
static void dense_$suffix(const dense_${suffix}_t *m, const int8_t *x, int32_t rows, int16_t *room, int8_t *y)
{
    for (int32_t r = 0; r < rows; ++r, x += m->inputs) {
        const int16_t *wide = widened(x, m->inputs, 0, room);
        for (int32_t first = 0; first < m->units; first += ROWS) {
            const int32_t n = least(m->units - first, ROWS), (*scales)[2] = m->scales + first;
            int32_t sum[ROWS];
            ${dense_sums};
            for (int32_t k = 0; k < n; ++k)
                *y++ = (int8_t)clamp(rescale(sum[k], scales[k][0], scales[k][1]) + m->zero, m->low, m->high);
        }
    }
}
