/* The greatest value of what the kernel covers, without padding. */
static $type largest_at_$suffix(const window_t *area, const $type *x, int32_t r, int32_t c)
{
    $type most = $lowest;
    for (int32_t i = 0; i < area->kernel[0]; ++i)
        for (int32_t j = 0; j < area->kernel[1]; ++j) {
            const int32_t at = pixel(area, r, c, i, j);
            if (at >= 0 && x[at] > most)
                most = x[at];
        }
    return most;
}

static void largest_$suffix(const pool_${suffix}_t *m, const $type *x, int32_t images, $type *y)
{
    const window_t *area = &m->window;
    for (; images > 0; --images, x += area->height * area->width * area->inputs)
        for (int32_t r = 0; r < area->rows; ++r)
            for (int32_t c = 0; c < area->columns; ++c)
                for (int32_t k = 0; k < area->channels; ++k)
                    *y++ = ($type)$clamp(largest_at_$suffix(area, x + k, r, c), m->low, m->high);
}
