/* y: the greatest of x over its middle axis and of what y was. */
static void maximum_$suffix(const $type *x, int32_t outer, int32_t middle, int32_t inner, $type *y)
{
    for (int32_t i = 0; i < outer; ++i, y += inner)
        for (int32_t j = 0; j < middle; ++j)
            for (int32_t k = 0; k < inner; ++k, ++x)
                y[k] = *x > y[k] ? *x : y[k];
}
