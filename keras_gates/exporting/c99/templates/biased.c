/* Adds biases to the sums of rows; none are zeros. */
static void biased_$suffix(const $bias *bias, int32_t first, int32_t rows, int32_t *sum)
{
    for (int32_t k = 0; bias && k < rows; ++k)
        sum[k] += bias[first + k];
}
