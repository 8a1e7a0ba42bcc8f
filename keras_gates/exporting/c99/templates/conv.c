typedef struct {
    const int8_t *weights;         /* (channels, height, width, inputs) */
    const $bias *bias;
    const int32_t (*scales)[2];    /* multiplier and shift of each channel */
    int32_t height, width, inputs; /* of an image */
    int32_t rows, columns, channels; /* of the result */
    int32_t kernel[2], stride[2], dilation[2], before[2]; /* before: rows and columns of padding above and left */
    int32_t in_zero, zero, low, high;
} conv_${suffix}_t;

/* What the kernel covers, less the zero point; padding is 0. */
static void patch_$suffix(const conv_${suffix}_t *m, const int8_t *x, int32_t row, int32_t column, int16_t *y)
{
    for (int32_t i = 0; i < m->kernel[0]; ++i)
        for (int32_t j = 0; j < m->kernel[1]; ++j, y += m->inputs) {
            const int32_t r = row + i * m->dilation[0], c = column + j * m->dilation[1];
            if (r < 0 || r >= m->height || c < 0 || c >= m->width)
                memset(y, 0, (size_t)m->inputs * sizeof *y);
            else
                (void)widened(x + (r * m->width + c) * m->inputs, m->inputs, m->in_zero, y);
        }
}

/* One image; room: for what the kernel covers. */
static void conv_image_$suffix(const conv_${suffix}_t *m, const int8_t *x, int16_t *room, int8_t *y)
{
    const int32_t n = m->kernel[0] * m->kernel[1] * m->inputs;
    for (int32_t r = 0; r < m->rows; ++r)
        for (int32_t c = 0; c < m->columns; ++c) {
            patch_$suffix(m, x, r * m->stride[0] - m->before[0], c * m->stride[1] - m->before[1], room);
            for (int32_t first = 0; first < m->channels; first += ROWS) {
                const int32_t rows = least(m->channels - first, ROWS), (*scales)[2] = m->scales + first;
                int32_t sum[ROWS];
                ${conv_sums};
                for (int32_t k = 0; k < rows; ++k)
                    *y++ = (int8_t)clamp(scale(sum[k], scales[k][0], scales[k][1]) + m->zero, m->low, m->high);
            }
        }
}

static void conv_$suffix(const conv_${suffix}_t *m, const int8_t *x, int32_t images, int16_t *room, int8_t *y)
{
    for (int32_t i = 0; i < images; ++i) {
        const int8_t *image = x + i * m->height * m->width * m->inputs;
        conv_image_$suffix(m, image, room, y + i * m->rows * m->columns * m->channels);
    }
}
