/* Q3.12 to Q0.15. */
static inline int32_t sigmoid15(int32_t a) { return sigmoid24(a * 3); }

/* Q(bits).(15 - bits) to Q0.15. */
static inline int32_t tanh15(int32_t a, const int32_t bits)
{
    return tanh24(bits < 3 ? (a * 3 + (1 << (2 - bits))) >> (3 - bits) : a * 3 * (1 << (bits - 3)));
}

/* A gate's input: from the event (saturated) and from the hidden state. */
static inline int32_t gate_sum(int32_t event, int32_t hidden) { return saturate16(event + saturate16(hidden)); }

/* Cell state after: forget gate and old cell state, input gate and candidate; fraction: bits behind the point of the cell. */
static inline int32_t cell_sum(int32_t forget, int32_t old, int32_t input, int32_t candidate, int32_t fraction)
{
    return saturate16(scale(forget * old, 1 << 30, -14) + saturate16(scale(input * candidate, 1 << 30, fraction - 29)));
}
