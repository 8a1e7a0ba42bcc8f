
/* The smoothed prediction after one event; the class that rose to the threshold, or -1. */
static int ${name}_decide(${name}_state *s, const ${out} *prediction)
{
    memcpy(s->recent[${slot}], prediction, sizeof s->recent[0]);
    ++s->events;
    const int32_t n = s->events < ${smooth} ? s->events : ${smooth};
    s->best = 0;
    for (int32_t k = 0; k < ${classes}; ++k) {
        s->smoothed[k] = 0;
        for (int32_t i = 0; i < n; ++i)
            s->smoothed[k] += s->recent[i][k];
        s->best = s->smoothed[k] > s->smoothed[s->best] ? k : s->best;
    }
    if (s->events >= 2 * ${smooth})
        s->events -= ${smooth}; /* so that the count never overflows */
    const int active = ${active} && !quiet[s->best];
    const int rose = active && s->best != s->active;
    s->active = active ? s->best : -1;
    return rose ? (int)s->best : -1;
}

int ${name}_listen(${name}_state *s, const int16_t *samples, int32_t n)
{
    int heard = -1;
    for (int32_t i = 0; i < n; ++i) {
        s->ring[s->next] = samples[i];
        s->next = (s->next + 1) % ${frame};
        if (++s->waiting < ${frame})
            continue;
        s->waiting = ${frame} - ${hop};
        ${in} event[${bins}];
        ${out} prediction[${classes}];
        log_mel(s->ring, s->next, s->spectrum, event);
        if (${name}_push(s, event, prediction))
            continue;
        const int label = ${name}_decide(s, prediction);
        heard = label < 0 ? heard : label;
    }
    return heard;
}

int ${name}_best(const ${name}_state *s) { return (int)s->best; }
