/* Sums over the middle axis, over `divisor`. */
static void sum_float(const float *x, int32_t outer, int32_t middle, int32_t inner, float divisor, float *y)
{
    for (int32_t i = 0; i < outer; ++i, x += middle * inner)
        for (int32_t k = 0; k < inner; ++k) {
            float sum = 0;
            for (int32_t j = 0; j < middle; ++j)
                sum += x[j * inner + k];
            *y++ = sum / divisor;
        }
}
