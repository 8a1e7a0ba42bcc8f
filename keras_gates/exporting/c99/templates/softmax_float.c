static void softmax_float(const float *x, float beta, int32_t rows, float *y, int32_t n)
{
    for (int32_t row = 0; row < rows; ++row, x += n, y += n) {
        float top = x[0], sum = 0;
        for (int32_t i = 1; i < n; ++i)
            top = x[i] > top ? x[i] : top;
        for (int32_t i = 0; i < n; ++i) {
            y[i] = exponential((x[i] - top) * beta);
            sum += y[i];
        }
        for (int32_t i = 0; i < n; ++i)
            y[i] /= sum;
    }
}
