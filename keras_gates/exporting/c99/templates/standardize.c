
void ${name}_standardize(const float *values, ${type} *event)
{
    for (int32_t i = 0; i < ${channels}; ++i) {
        const float real = (values[i] - mean[i]) / deviation[i];
${store}
    }
}
