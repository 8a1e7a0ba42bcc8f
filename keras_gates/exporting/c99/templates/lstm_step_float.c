/* One step; gates: room for 4 * units. */
static void lstm_step_float(const lstm_float_t *m, const float *x, float *h, float *c, float *gates)
{
    const int32_t width = 4 * m->units;
    memcpy(gates, m->weights, (size_t)width * sizeof *gates);
    products(m->weights + width, x, m->inputs, width, gates);
    lstm_memory_float(m, h, c, gates);
}
