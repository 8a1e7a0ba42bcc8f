/* x times a double, to the nearest, halves away from zero: s is its mantissa as high * 2^26 + low, over 2^n. What is past reach
   saturates anyway. */
static inline int32_t rescale64(int64_t x, const int32_t *s)
{
    const int64_t reach = (int64_t)s[3] << 4, a = x < 0 ? -x : x, b = a < reach ? a : reach;
    const int64_t y = (b * s[0] + ((b * s[1]) >> 26) + ((int64_t)1 << (s[2] - 27))) >> (s[2] - 26);
    return (int32_t)(x < 0 ? -y : y);
}
