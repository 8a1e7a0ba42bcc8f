
void ${name}_units_${output}(const ${type} *${output}, float *values)
{
    for (int32_t i = 0; i < ${size}; ++i) {
        const float real = ${real};
        values[i] = real * unit_${output}[i / ${inner} % ${count}] + offset_${output}[i / ${inner} % ${count}];
    }
}
