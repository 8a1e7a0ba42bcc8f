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

/* sigmoid(x / 24 / 2^9) in Q0.15. */
static inline int32_t sigmoid24(int32_t x)
{
    const uint32_t y = between(x, 9);
    return (int32_t)((x >= 0 ? y + 512u : 0x2000000u - y + 511u) >> 10);
}

/* tanh(x / 48 / 2^8) in Q0.15. */
static inline int32_t tanh24(int32_t x)
{
    const int32_t y = (x < 0 ? -x : x) >> 8 >= 255 ? 0xFFFF00 : (int32_t)between(x, 8);
    return (x >= 0 ? y - 0x800000 + 128 : 0x800000 - y + 127) >> 8;
}
