typedef struct {
    const int8_t *weights;         /* (height, width, channels) */
    const $bias *bias;
    const int32_t (*scales)[2];    /* multiplier and shift of each channel */
    window_t window;
    int32_t in_zero, zero, low, high;
} depthwise_${suffix}_t;

static $sum depthwise_sum_$suffix(const depthwise_${suffix}_t *m, const $type *x, int32_t r, int32_t c, int32_t channel)
{
    const window_t *area = &m->window;
    const int32_t input = channel / (area->channels / area->inputs);
    const int8_t *w = m->weights + channel;
    $sum sum = m->bias[channel];
    for (int32_t i = 0; i < area->kernel[0]; ++i)
        for (int32_t j = 0; j < area->kernel[1]; ++j, w += area->channels) {
            const int32_t at = pixel(area, r, c, i, j);
            if (at >= 0)
                sum += ($sum)(x[at + input] - m->in_zero) * *w;
        }
    return sum;
}

static void depthwise_$suffix(const depthwise_${suffix}_t *m, const $type *x, int32_t images, $type *y)
{
    const window_t *area = &m->window;
    for (; images > 0; --images, x += area->height * area->width * area->inputs)
        for (int32_t r = 0; r < area->rows; ++r)
            for (int32_t c = 0; c < area->columns; ++c)
                for (int32_t k = 0; k < area->channels; ++k) {
                    const $sum sum = depthwise_sum_$suffix(m, x, r, c, k);
                    const int32_t scaled = $scale(sum, m->scales[k][0], m->scales[k][1]);
                    *y++ = ($type)clamp(scaled + m->zero, m->low, m->high);
                }
}
