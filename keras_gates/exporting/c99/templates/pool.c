typedef struct {
    window_t window;
    $limit low, high;
} pool_${suffix}_t;
