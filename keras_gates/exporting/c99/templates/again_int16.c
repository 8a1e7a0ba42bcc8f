/* Real numbers of one scale, quantized in another: in float, as those who hold a file's memory outside it do. */
static void again_int16(const int16_t *x, int32_t n, float from, float to, int16_t *y)
{
    for (int32_t i = 0; i < n; ++i) {
        const float real = (float)x[i] * from;
        const float whole = real / to + (x[i] < 0 ? -0.5f : 0.5f);
        y[i] = (int16_t)(whole <= -32768.0f ? -32768.0f : whole >= 32767.0f ? 32767.0f : whole);
    }
}
