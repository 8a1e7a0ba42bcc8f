/* x * 2^15 rounded back. */
static inline int32_t turned(int64_t x) { return (int32_t)((x + 0x4000) >> 15); }

/* FFT in place; x: (real, imaginary), the samples in bit-reversed order. */
static void transform(int32_t (*x)[2])
{
    for (int32_t half = 1; half < $frame; half *= 2)
        for (int32_t start = 0; start < $frame; start += 2 * half)
            for (int32_t k = 0; k < half; ++k) {
                int32_t *a = x[start + k], *b = x[start + k + half];
                const int32_t c = mel_cosines[k * ($frame / 2 / half)], s = mel_sines[k * ($frame / 2 / half)];
                const int32_t p = turned((int64_t)b[0] * c - (int64_t)b[1] * s);
                const int32_t q = turned((int64_t)b[0] * s + (int64_t)b[1] * c);
                b[0] = a[0] - p, b[1] = a[1] - q;
                a[0] += p, a[1] += q;
            }
}

/* log2(x) in 1/65536 for x > 0. */
static int32_t logarithm(uint64_t x)
{
    int32_t high = 0;
    for (int32_t bits = 32; bits; bits /= 2)
        if (x >> (high + bits))
            high += bits;
    const int32_t mantissa = (int32_t)(high > 22 ? x >> (high - 22) : x << (22 - high)) - (1 << 22);
    const int32_t *base = mel_logarithms + (mantissa >> 16);
    return high * 65536 + base[0] + (int32_t)(((int64_t)(base[1] - base[0]) * (mantissa & 0xFFFF)) >> 16);
}

/* One event of the $frame samples that begin at ring[start]. */
static void log_mel(const int16_t *ring, int32_t start, int32_t (*x)[2], $type *event)
{
    for (int32_t i = 0; i < $frame; ++i) {
        int32_t from = 0;
        for (int32_t bit = 0; bit < $stages; ++bit)
            from |= (i >> bit & 1) << ($stages - 1 - bit);
        x[i][0] = ((int32_t)ring[(start + from) % $frame] * mel_window[from] + $rounding) >> $shift;
        x[i][1] = 0;
    }
    transform(x);
    const uint16_t *weights = mel_weights;
    for (int32_t band = 0; band < $bins; ++band) {
        uint64_t sum = ${floor}u;
        for (int32_t k = mel_bands[band][0]; k < mel_bands[band][1]; ++k) {
            const int64_t re = x[k][0], im = x[k][1];
            sum += ((uint64_t)(re * re + im * im) >> $dropped) * *weights++;
        }
        const int32_t y = logarithm(sum) - $one;
$store
    }
}
