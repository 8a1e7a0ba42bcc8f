/* To the nearest, halves away from zero; the fraction is exact, a sum with a half would not be. */
static void quantize_$suffix(const float *x, int32_t n, $type *y, float scale, int32_t zero)
{
    for (int32_t i = 0; i < n; ++i) {
        const float real = clamp_float(x[i] / scale, -131072.0f, 131072.0f);
        const int32_t whole = (int32_t)real;
        const float rest = real - (float)whole;
        y[i] = ($type)clamp(whole + (rest >= 0.5f) - (rest <= -0.5f) + zero, $low, $high);
    }
}
