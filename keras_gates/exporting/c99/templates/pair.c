/* Sizes of the result, and the strides of both operands; 0 repeats one. */
typedef struct {
    int32_t n[3], a[3], b[3];
} pair_t;
