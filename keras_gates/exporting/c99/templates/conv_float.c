typedef struct {
    const float *weights;            /* (height, width, inputs, channels) */
    const float *bias;
    int32_t height, width, inputs;   /* of an image */
    int32_t rows, columns, channels; /* of the result */
    int32_t kernel[2], stride[2], dilation[2], before[2]; /* before: rows and columns of padding above and left */
    float low, high;
} conv_float_t;

/* The products of one row of the kernel for one place; places side by side in the image and the kernel count as one. */
static void conv_row_float(const conv_float_t *m, const float *w, const float *x, int32_t column, float *y)
{
    const int32_t step = m->dilation[1], most = step == 1 ? m->kernel[1] : 1;
    for (int32_t j = 0, run = 1; j < m->kernel[1]; j += run) {
        const int32_t c = column + j * step;
        run = 1;
        if (c < 0 || c >= m->width)
            continue;
        while (run < most && j + run < m->kernel[1] && c + run < m->width)
            ++run;
        products(w + j * m->inputs * m->channels, x + c * m->inputs, run * m->inputs, m->channels, y);
    }
}

/* The same for two places side by side, away from the padding; returns 0 if they are not. */
static int32_t conv_two_float(const conv_float_t *m, const float *w, const float *x, int32_t column, float *y)
{
    const int32_t step = m->stride[1] * m->inputs, n = m->kernel[1] * m->inputs;
    if (m->dilation[1] != 1 || column < 0 || column + m->stride[1] + m->kernel[1] > m->width)
        return 0;
    products_two(w, x + column * m->inputs, step, n, m->channels, y);
    return 2;
}

static void conv_image_float(const conv_float_t *m, const float *x, float *y)
{
    const int32_t row_weights = m->kernel[1] * m->inputs * m->channels, n = m->columns * m->channels;
    for (int32_t r = 0; r < m->rows; ++r, y += n) {
        for (int32_t c = 0; c < m->columns; ++c)
            memcpy(y + c * m->channels, m->bias, (size_t)m->channels * sizeof *y);
        for (int32_t i = 0; i < m->kernel[0]; ++i) {
            const int32_t row = r * m->stride[0] - m->before[0] + i * m->dilation[0];
            if (row < 0 || row >= m->height)
                continue;
            const float *w = m->weights + i * row_weights, *start = x + row * m->width * m->inputs;
            for (int32_t c = 0, some; c < m->columns; c += some) {
                const int32_t column = c * m->stride[1] - m->before[1];
                some = c + 2 <= m->columns ? conv_two_float(m, w, start, column, y + c * m->channels) : 0;
                if (!some) {
                    conv_row_float(m, w, start, column, y + c * m->channels);
                    some = 1;
                }
            }
        }
        for (int32_t k = 0; k < n; ++k)
            y[k] = clamp_float(y[k], m->low, m->high);
    }
}

static void conv_float(const conv_float_t *m, const float *x, int32_t images, float *y)
{
    for (int32_t i = 0; i < images; ++i)
        conv_image_float(m, x + i * m->height * m->width * m->inputs, y + i * m->rows * m->columns * m->channels);
}
