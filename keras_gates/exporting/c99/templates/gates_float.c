static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }
#ifdef GATES_TANH /* a board's own: -include its header and -DGATES_TANH=function */
static inline float hyperbolic(float x) { return GATES_TANH(x); }
#else
static inline float hyperbolic(float x) { return 1.0f - 2.0f / (1.0f + exponential(2.0f * x)); }
#endif
