// Any processor of the architecture: SSE2 on x86-64, NEON on AArch64.
#include "internal.h"

#define KG_NAMESPACE kg_with_baseline
#define KG_NAME "baseline"
#ifndef KG_BYTES  // the tests also build it with vectors and tiles of other sizes
#define KG_BYTES 16
#define KG_ROWS 6
#endif
#define KG_ENTRY kg_baseline
#include "variant.inc"
