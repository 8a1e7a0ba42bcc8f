/* sigmoid(i / 24) in Q0.16. */
static const uint16_t gate_table[256] = {
    $gate_table};

/* 65536 * sigmoid(x / 24 / 2^bits), between two entries of the table; times 2^bits. */
static inline uint32_t between(int32_t x, int32_t bits)
{
    const uint32_t a = (uint32_t)(x < 0 ? -x : x), i = a >> bits;
    if (i >= 255)
        return 0xFFFEu << bits;
    return ((uint32_t)gate_table[i] << bits) +
           (a & (((uint32_t)1 << bits) - 1u)) * ((uint32_t)gate_table[i + 1] - gate_table[i]);
}

/* Q3.12 to Q0.15. */
static inline int32_t sigmoid15(int32_t a)
{
    const uint32_t y = between(a * 3, 9);
    return (int32_t)((a >= 0 ? y + 512u : 0x2000000u - y + 511u) >> 10);
}

/* Q(bits).(15 - bits) to Q0.15. */
static inline int32_t tanh15(int32_t a, const int32_t bits)
{
    const int32_t x = bits < 3 ? (a * 3 + (1 << (2 - bits))) >> (3 - bits) : a * 3 * (1 << (bits - 3));
    const int32_t y = (x < 0 ? -x : x) >> 8 >= 255 ? 0xFFFF00 : (int32_t)between(x, 8);
    return (x >= 0 ? y - 0x800000 + 128 : 0x800000 - y + 127) >> 8;
}

/* A gate's input: from the event (saturated) and from the hidden state. */
static inline int32_t gate_sum(int32_t event, int32_t hidden) { return saturate16(event + saturate16(hidden)); }

/* Cell state after: forget gate and old cell state, input gate and candidate; fraction: bits behind the point of the cell. */
static inline int32_t cell_sum(int32_t forget, int32_t old, int32_t input, int32_t candidate, int32_t fraction)
{
    return saturate16(scale(forget * old, 1 << 30, -14) + saturate16(scale(input * candidate, 1 << 30, fraction - 29)));
}
