/* The average of what the kernel covers, without padding. */
static $limit average_at_$suffix(const window_t *area, const $type *x, int32_t r, int32_t c)
{
    $limit sum = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < area->kernel[0]; ++i)
        for (int32_t j = 0; j < area->kernel[1]; ++j) {
            const int32_t at = pixel(area, r, c, i, j);
            if (at >= 0)
                sum += x[at], ++n;
        }
    return $average;
}

static void average_$suffix(const pool_${suffix}_t *m, const $type *x, int32_t images, $type *y)
{
    const window_t *area = &m->window;
    for (; images > 0; --images, x += area->height * area->width * area->inputs)
        for (int32_t r = 0; r < area->rows; ++r)
            for (int32_t c = 0; c < area->columns; ++c)
                for (int32_t k = 0; k < area->channels; ++k)
                    *y++ = ($type)$clamp(average_at_$suffix(area, x + k, r, c), m->low, m->high);
}
