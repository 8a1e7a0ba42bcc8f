typedef struct {
    const float *weights;          /* (height, width, channels) */
    const float *bias;
    window_t window;
    float low, high;
} depthwise_float_t;

static float depthwise_sum_float(const depthwise_float_t *m, const float *x, int32_t r, int32_t c, int32_t channel)
{
    const window_t *area = &m->window;
    const int32_t input = channel / (area->channels / area->inputs);
    const float *w = m->weights + channel;
    float sum = 0;
    for (int32_t i = 0; i < area->kernel[0]; ++i)
        for (int32_t j = 0; j < area->kernel[1]; ++j, w += area->channels) {
            const int32_t at = pixel(area, r, c, i, j);
            if (at >= 0)
                sum += x[at + input] * *w;
        }
    return sum + m->bias[channel];
}

static void depthwise_float(const depthwise_float_t *m, const float *x, int32_t images, float *y)
{
    const window_t *area = &m->window;
    for (; images > 0; --images, x += area->height * area->width * area->inputs)
        for (int32_t r = 0; r < area->rows; ++r)
            for (int32_t c = 0; c < area->columns; ++c)
                for (int32_t k = 0; k < area->channels; ++k)
                    *y++ = clamp_float(depthwise_sum_float(m, x, r, c, k), m->low, m->high);
}
