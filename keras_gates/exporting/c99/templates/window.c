/* A kernel that moves over an image; before: rows and columns of padding above and left. */
typedef struct {
    int32_t height, width, inputs;   /* of an image */
    int32_t rows, columns, channels; /* of the result */
    int32_t kernel[2], stride[2], dilation[2], before[2];
} window_t;

/* The first channel of the pixel under item (i, j) of the kernel, for row r and column c of the result; -1 in the padding. */
static int32_t pixel(const window_t *m, int32_t r, int32_t c, int32_t i, int32_t j)
{
    const int32_t row = r * m->stride[0] - m->before[0] + i * m->dilation[0];
    const int32_t column = c * m->stride[1] - m->before[1] + j * m->dilation[1];
    if (row < 0 || row >= m->height || column < 0 || column >= m->width)
        return -1;
    return (row * m->width + column) * m->inputs;
}
