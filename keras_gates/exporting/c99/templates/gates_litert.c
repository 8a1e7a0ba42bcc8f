/* a * b / 2^15 to the nearest, halves up. */
static inline int32_t times15(int32_t a, int32_t b) { return (a * b + 0x4000) >> 15; }

/* exp(a) in Q0.15 for a <= 0 in Q(bits).(15 - bits): a polynomial around -1/8, then exp(-1/4), exp(-1/2), exp(-1), ... */
static inline int32_t exp15(int32_t a, const int32_t bits)
{
    static const int32_t power[7] = {25520, 19875, 12055, 4435, 600, 11, 0};
    const int32_t quarter = (int32_t)1 << (13 - bits);
    const int32_t low = (a & (quarter - 1)) - quarter, rest = low - a;
    const int32_t x = low * ((int32_t)1 << bits) + 4096;
    const int32_t x2 = times15(x, x), x3 = times15(x2, x), x4 = times15(x2, x2);
    int32_t y = least(28918 + times15(28918, x + divide(times15(divide(x4, 2) + x3, 10923) + x2, 1)), 32767);
    for (int32_t i = 0; i < least(bits + 2, 7); ++i)
        y = (rest & (quarter * ((int32_t)1 << i))) ? times15(y, power[i]) : y;
    if (bits > 5)
        y = a < -((int32_t)32 * ((int32_t)1 << (15 - bits))) ? 0 : y;
    return a == 0 ? 32767 : y;
}

/* 2 / (1 + a) in Q2.13 for a in Q0.15: three steps of Newton's division. */
static inline int32_t two_over_one_plus(int32_t a)
{
    const int32_t half = (a + 32768) >> 1;
    int32_t x = 23130 + times15(half, -15420);
    for (int i = 0; i < 3; ++i)
        x += saturate16(times15(x, 8192 - times15(half, x)) * 4);
    return x;
}

/* Q3.12 to Q0.15. */
static inline int32_t sigmoid15(int32_t a)
{
    const int32_t y = saturate16(two_over_one_plus(exp15(a > 0 ? -a : a, 3)) * 2);
    return a == 0 ? 16384 : a > 0 ? y : 32767 - y;
}

/* Q(bits).(15 - bits) to Q0.15. */
static inline int32_t tanh15(int32_t a, const int32_t bits)
{
    const int32_t y = saturate16((two_over_one_plus(exp15(a < 0 ? a : -a, bits + 1)) - 8192) * 4);
    return a == 0 ? 0 : a < 0 ? -y : y;
}

/* A gate's input: from the event (saturated) and from the hidden state. */
static inline int32_t gate_sum(int32_t event, int32_t hidden) { return saturate16(event + hidden); }

/* Cell state after: forget gate and old cell state, input gate and candidate; fraction: bits behind the point of the cell. */
static inline int32_t cell_sum(int32_t forget, int32_t old, int32_t input, int32_t candidate, int32_t fraction)
{
    return saturate16(divide(forget * old, 15) + divide(input * candidate, 30 - fraction));
}
