typedef struct {
    const int8_t *weights;         /* (channels, height, width, inputs) */
    const int32_t *bias;
    const int32_t (*scales)[2];    /* multiplier and shift of each channel */
    int32_t height, width, inputs; /* of an image */
    int32_t rows, columns, channels; /* of the result */
    int32_t kernel[2], stride[2], dilation[2], before[2]; /* before: rows and columns of padding above and left */
    int32_t in_zero, zero, low, high;
} conv_int8_t;

/* One image. Padding has the value of the zero point and so adds nothing. */
static void conv_image_int8(const conv_int8_t *m, const int8_t *x, int8_t *y)
{
    for (int32_t r = 0; r < m->rows; ++r)
        for (int32_t c = 0; c < m->columns; ++c)
            for (int32_t o = 0; o < m->channels; ++o) {
                int32_t sum = m->bias[o];
                for (int32_t i = 0; i < m->kernel[0]; ++i)
                    for (int32_t j = 0; j < m->kernel[1]; ++j) {
                        const int32_t row = r * m->stride[0] - m->before[0] + i * m->dilation[0];
                        const int32_t column = c * m->stride[1] - m->before[1] + j * m->dilation[1];
                        if (row < 0 || row >= m->height || column < 0 || column >= m->width)
                            continue;
                        const int8_t *w = m->weights + ((o * m->kernel[0] + i) * m->kernel[1] + j) * m->inputs;
                        const int8_t *p = x + (row * m->width + column) * m->inputs;
                        for (int32_t k = 0; k < m->inputs; ++k)
                            sum += w[k] * (p[k] - m->in_zero);
                    }
                *y++ = (int8_t)clamp(scale(sum, m->scales[o][0], m->scales[o][1]) + m->zero, m->low, m->high);
            }
}

static void conv_int8(const conv_int8_t *m, const int8_t *x, int32_t images, int8_t *y)
{
    for (int32_t i = 0; i < images; ++i)
        conv_image_int8(m, x + i * m->height * m->width * m->inputs, y + i * m->rows * m->columns * m->channels);
}
