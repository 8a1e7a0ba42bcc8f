typedef struct {
    const int8_t *weights;         /* (channels, height, width, inputs) */
    const int64_t *bias;
    const int32_t (*scales)[2];    /* 15 bits of multiplier, and right shift, of each channel */
    window_t window;
    int32_t low, high;
} conv_int16_t;

static int64_t conv_sum_int16(const conv_int16_t *m, const int16_t *x, int32_t r, int32_t c, int32_t channel)
{
    const window_t *area = &m->window;
    const int8_t *w = m->weights + channel * area->kernel[0] * area->kernel[1] * area->inputs;
    int64_t sum = m->bias[channel];
    for (int32_t i = 0; i < area->kernel[0]; ++i)
        for (int32_t j = 0; j < area->kernel[1]; ++j, w += area->inputs) {
            const int32_t at = pixel(area, r, c, i, j);
            if (at >= 0)
                dots64(w, x + at, area->inputs, 1, &sum, &sum);
        }
    return sum;
}

static void conv_int16(const conv_int16_t *m, const int16_t *x, int32_t images, int16_t *y)
{
    const window_t *area = &m->window;
    for (; images > 0; --images, x += area->height * area->width * area->inputs)
        for (int32_t r = 0; r < area->rows; ++r)
            for (int32_t c = 0; c < area->columns; ++c)
                for (int32_t k = 0; k < area->channels; ++k) {
                    const int64_t sum = conv_sum_int16(m, x, r, c, k);
                    *y++ = (int16_t)clamp(scale64(sum, m->scales[k][0], m->scales[k][1]), m->low, m->high);
                }
}
