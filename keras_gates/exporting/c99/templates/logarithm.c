/* log(x) = k * log(2) + log(m), 0.7 < m < 1.42, without a library: log(m) = 2 * atanh((m - 1) / (m + 1)). Relative error below
   2e-7; x <= 0 gives minus infinity. */
static inline float logarithm(float x)
{
    union {
        float f;
        uint32_t i;
    } m;
    int32_t k = -127;
    m.f = x;
    if (!(x > 0)) {
        m.i = 0xFF800000u;
        return m.f;
    }
    if (m.i < 0x800000u) /* subnormal */
        m.f *= 8388608.0f, k -= 23;
    k += (int32_t)(m.i >> 23);
    m.i = (m.i & 0x7FFFFFu) | 0x3F800000u;
    if (m.f > 1.41421356f)
        m.f *= 0.5f, ++k;
    const float s = (m.f - 1.0f) / (m.f + 1.0f), z = s * s;
    const float rest = z * (2.0f / 3 + z * (2.0f / 5 + z * (2.0f / 7 + z * (2.0f / 9))));
    return (float)k * 0.693359375f + (2.0f * s + (s * rest - (float)k * 2.12194440e-4f));
}
