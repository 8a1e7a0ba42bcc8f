typedef struct {
    const float *weights;            /* (channels, height, width, inputs) */
    const float *bias;
    int32_t height, width, inputs;   /* of an image */
    int32_t rows, columns, channels; /* of the result */
    int32_t kernel[2], stride[2], dilation[2], before[2]; /* before: rows and columns of padding above and left */
    float low, high;
} conv_float_t;

static void conv_image_float(const conv_float_t *m, const float *x, float *y)
{
    for (int32_t r = 0; r < m->rows; ++r)
        for (int32_t c = 0; c < m->columns; ++c)
            for (int32_t o = 0; o < m->channels; ++o) {
                float sum = m->bias[o];
                for (int32_t i = 0; i < m->kernel[0]; ++i)
                    for (int32_t j = 0; j < m->kernel[1]; ++j) {
                        const int32_t row = r * m->stride[0] - m->before[0] + i * m->dilation[0];
                        const int32_t column = c * m->stride[1] - m->before[1] + j * m->dilation[1];
                        if (row < 0 || row >= m->height || column < 0 || column >= m->width)
                            continue;
                        const float *w = m->weights + ((o * m->kernel[0] + i) * m->kernel[1] + j) * m->inputs;
                        const float *p = x + (row * m->width + column) * m->inputs;
                        for (int32_t k = 0; k < m->inputs; ++k)
                            sum += w[k] * p[k];
                    }
                *y++ = clamp_float(sum, m->low, m->high);
            }
}

static void conv_float(const conv_float_t *m, const float *x, int32_t images, float *y)
{
    for (int32_t i = 0; i < images; ++i)
        conv_image_float(m, x + i * m->height * m->width * m->inputs, y + i * m->rows * m->columns * m->channels);
}
