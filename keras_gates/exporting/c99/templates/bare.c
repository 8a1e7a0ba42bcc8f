#include "model.h"

model_state state;
$declarations

int main(void)
{
    model_reset(&state);
    for (;;)
        $call
}
